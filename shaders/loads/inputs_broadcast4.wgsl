// Loads of inputs, shared by four lanes: they need the same 32 inputs, as all lanes do where LANES
// is 1; each loads a quarter and gets the others by quadBroadcast.
#import loads/broadcast_lane

fn load_unit(i: u32, index: u32) -> Inputs32 {
    let a = x[i + index];
    let b = x[i + 4u + index];
    return inputs32(
        quadBroadcast(a, 0u), quadBroadcast(a, 1u), quadBroadcast(a, 2u), quadBroadcast(a, 3u),
        quadBroadcast(b, 0u), quadBroadcast(b, 1u), quadBroadcast(b, 2u), quadBroadcast(b, 3u),
    );
}
