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
