// Scaled gate and step size of a Mamba-2 mixer.
#import lib/ssm
override Z_SCALE: f32; // 0 if another kernel applies the gate
override DT_SCALE: f32; // factor of dt, before its bias

// silu(Z_SCALE · z), or 1 if another kernel applies the gate.
fn gate_of(z: f32) -> f32 {
    return select(silu(Z_SCALE * z), 1.0, Z_SCALE == 0.0);
}
