// Quants of a unit as 32 bytes in order, for arithmetic that multiplies bytes.
struct Bytes32 {
    a: vec4<u32>,
    b: vec4<u32>,
}

// 32 nibbles.
fn bytes32_nibbles(q: vec4<u32>) -> Bytes32 {
    let low = q & vec4<u32>(0x0f0f0f0fu);
    let high = (q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
    return Bytes32(
        vec4<u32>(low.x, high.x, low.y, high.y), vec4<u32>(low.z, high.z, low.w, high.w),
    );
}

// 32 nibbles with a fifth bit, bit 8i + k for weight 4k + i.
fn bytes32_fives(q: vec4<u32>, h: u32) -> Bytes32 {
    let fifth = vec4<u32>(0x10101010u);
    let nibbles = bytes32_nibbles(q);
    return Bytes32(
        nibbles.a | (vec4<u32>(h << 4u, h << 3u, h << 2u, h << 1u) & fifth),
        nibbles.b | (vec4<u32>(h, h >> 1u, h >> 2u, h >> 3u) & fifth),
    );
}

// 32 quants of one bit, bit 8i + k for weight 4k + i.
fn bytes32_ones(h: u32) -> Bytes32 {
    let one = vec4<u32>(0x01010101u);
    return Bytes32(
        vec4<u32>(h, h >> 1u, h >> 2u, h >> 3u) & one,
        vec4<u32>(h >> 4u, h >> 5u, h >> 6u, h >> 7u) & one,
    );
}

// 32 quants of two bits, bits 8i + 2k of each word for its weight 4k + i.
fn bytes32_twos(q: vec2<u32>) -> Bytes32 {
    let two = vec4<u32>(0x03030303u);
    return Bytes32(
        vec4<u32>(q.x, q.x >> 2u, q.x >> 4u, q.x >> 6u) & two,
        vec4<u32>(q.y, q.y >> 2u, q.y >> 4u, q.y >> 6u) & two,
    );
}

// 32 quants of two bits with a third bit, bit 8i + k for weight 4k + i.
fn bytes32_threes(q: vec2<u32>, h: u32) -> Bytes32 {
    let third = vec4<u32>(0x04040404u);
    let twos = bytes32_twos(q);
    return Bytes32(
        twos.a | (vec4<u32>(h << 2u, h << 1u, h, h >> 1u) & third),
        twos.b | (vec4<u32>(h >> 2u, h >> 3u, h >> 4u, h >> 5u) & third),
    );
}
