//! WGSL sources in the binary, without their comments: these are 40 % of the sources' compressed
//! bytes. Lines keep their numbers.

/// Embeds a file as `include_str!` does, but without comments.
macro_rules! include_wgsl {
    ($path:expr) => {{
        const SOURCE: &str = include_str!($path);
        const CODE: [u8; $crate::formats::wgsl::code_bytes(SOURCE)] =
            $crate::formats::wgsl::code(SOURCE);
        match std::str::from_utf8(&CODE) {
            Ok(code) => code,
            Err(_) => panic!("a comment ends within a character"),
        }
    }};
}

/// Copies the code of `source` to `out` if there is one, and returns the number of its bytes.
const fn copy_code(source: &str, mut out: Option<&mut [u8]>) -> usize {
    let source = source.as_bytes();
    let (mut count, mut i, mut in_comment) = (0, 0, false);
    while i < source.len() {
        let starts = source[i] == b'/' && i + 1 < source.len() && source[i + 1] == b'/';
        in_comment = (in_comment || starts) && source[i] != b'\n';
        if !in_comment {
            if let Some(out) = &mut out {
                out[count] = source[i];
            }
            count += 1;
        }
        i += 1;
    }
    count
}

/// Bytes of `source` outside of comments.
pub(crate) const fn code_bytes(source: &str) -> usize {
    copy_code(source, None)
}

/// The bytes of `source` outside of comments; `N` is their number.
pub(crate) const fn code<const N: usize>(source: &str) -> [u8; N] {
    let mut out = [0; N];
    copy_code(source, Some(&mut out));
    out
}
