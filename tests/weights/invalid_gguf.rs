//! Invalid GGUF files, and files of other kinds.

use std::rc::Rc;

use tablm::formats::Format;
use tablm::weights::source::{ByteSource, LocalFuture, MemorySource};
use tablm::{Code, Error};

use crate::common::gguf::{Gguf, array, kind, string};
use crate::{open, open_all, refused};

const BAD: Code = Code::Malformed;

/// A valid file with a key of each kind of value (number, string, array) and two tensors.
fn small() -> Gguf {
    Gguf::new()
        .str("general.architecture", "llama")
        .u32("general.alignment", 32)
        .strings("tokens", &["a", "bc"])
        .f32s("scores", &[1.0, 2.0])
        .bool("flag", true)
        .tensor("a", Format::F32, &[2, 3], vec![0; 24])
        .tensor("b", Format::Q4_0, &[1, 32], vec![0; 18])
}

/// Checks that the file is refused as malformed, with these words.
#[track_caller]
fn says(file: &Gguf, words: &[&str]) {
    refused(open("m.gguf", file.bytes()), BAD, words);
}

#[test]
fn a_header_truncated_anywhere_is_refused() {
    let (bytes, header) = small().bytes_and_header();
    for length in 0..header {
        let error = open("m.gguf", bytes[..length].to_vec()).expect_err("a header without its end");
        assert_eq!(error.code(), BAD, "{length}: {error}");
        assert!(error.message().starts_with("m.gguf: "), "{length}: {error}");
        if length > 0 {
            assert!(error.message().contains("cut off"), "{length}: {error}");
        }
    }
    for length in header..=bytes.len() {
        open("m.gguf", bytes[..length].to_vec()).unwrap();
    }
}

#[test]
fn no_single_changed_byte_breaks_the_parser() {
    let (bytes, header) = small().bytes_and_header();
    for at in 0..header {
        for change in [1, 0x10, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            match open("m.gguf", bytes) {
                Ok(checkpoint) => drop(checkpoint.check_complete()),
                Err(error) => assert!(
                    matches!(error.code(), BAD | Code::UnsupportedFormat)
                        && error.message().starts_with("m.gguf: "),
                    "byte {at} changed by {change}: {error}"
                ),
            }
        }
    }
}

#[test]
fn files_that_are_no_model_are_described() {
    let says = |bytes: &[u8], words: &str| {
        refused(
            open("model.gguf", bytes.to_vec()),
            BAD,
            &["model.gguf: magic: ", words, "expected GGUF"],
        );
    };
    says(b"", "an empty file");
    says(b"<!DOCTYPE html><html>404</html>", "HTML page");
    says(b"\xef\xbb\xbf\n  <HTML lang=en>", "HTML page");
    says(b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML or HTML");
    says(b"{\"error\": \"Repository not found\"}", "JSON text");
    says(b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer");
    says(b"PK\x03\x04rest", "zip archive");
    says(&[0x1f, 0x8b, 8, 0], "gzip");
    says(b"tjgg\x03\0\0\0", "before GGUF");
    says(b"\x40\0\0\0\0\0\0\0{\"w\":", "a single safetensors file");
    says(b"Not Found", "text that begins with \"Not Found\"");
    says(&[0xde, 0xad, 0xbe, 0xef, 1], "found bytes de ad be ef");
    says(&[0; 600], "found bytes 00 00 00 00");
}

#[test]
fn unsupported_versions_and_byte_orders_are_named() {
    for (version, words) in
        [(0, "found 0, expected 2 or 3"), (1, "found 1"), (4, "found 4"), (3 << 24, "a big-endian")]
    {
        let mut file = small();
        file.version = version;
        says(&file, &["m.gguf: version: ", words]);
    }
}

/// A source that claims a larger size than its data has, and fills up with zeros.
struct OversizedSource {
    inner: MemorySource,
    size_bytes: u64,
}

impl ByteSource for OversizedSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>, Error>> {
        assert!(length <= 256 << 20, "a piece of {length} bytes");
        Box::pin(async move {
            let mut bytes = vec![0; length];
            let available =
                self.inner.size_bytes().saturating_sub(offset).min(length as u64) as usize;
            if available > 0 {
                bytes[..available].copy_from_slice(&self.inner.read(offset, available).await?);
            }
            Ok(bytes)
        })
    }
}

#[test]
fn huge_counts_and_lengths_are_refused_before_allocation() {
    let huge = [1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, u64::MAX - 7, u64::MAX];
    for count in huge {
        let length = string(b"x")[8..].to_vec();
        let long = [&kind::STRING.to_le_bytes()[..], &count.to_le_bytes(), &length].concat();
        let files = [
            Gguf { tensor_count: Some(count), ..small() },
            Gguf { key_count: Some(count), ..small() },
            small().raw("k", array(kind::U8, count, &[0; 4])),
            small().raw("k", array(kind::U64, count, &[0; 8])),
            small().raw("k", array(kind::STRING, count, &string(b"x"))),
            small().raw("k", array(kind::ARRAY, count, &[])),
            small().raw("k", long),
        ];
        for (number, file) in files.iter().enumerate() {
            let error = open("m.gguf", file.bytes()).expect_err("a huge count");
            assert_eq!(error.code(), BAD, "{number}, {count}: {error}");
            // Nor is it accepted if the source claims to be large enough.
            let size_bytes = 1 << 50;
            let inner = MemorySource::new("m.gguf", file.bytes());
            let error = open_all(vec![Rc::new(OversizedSource { inner, size_bytes })])
                .expect_err("a huge count");
            assert_eq!(error.code(), BAD, "{number}, {count}: {error}");
        }
    }
    says(&Gguf { tensor_count: Some(1 << 20), ..small() }, &["tensor count: found 1048576"]);
    says(
        &Gguf { key_count: Some(999_999), ..small() },
        &["key count: found 999999", "in the rest of the file"],
    );
    says(
        &small().raw("k", array(kind::F32, 1000, &[])),
        &["m.gguf: k: found 1000", "in the rest of the file"],
    );
}

#[test]
fn keys_and_values_are_checked() {
    says(&small().bool("flag", true), &["key \"flag\"", "twice"]);
    says(&small().number("k", 13, &[0]), &["k: found type 13, expected 0 to 12"]);
    says(&small().number("k", kind::BOOL, &[2]), &["k: found a bool of value 2"]);
    says(&small().raw("k", array(kind::BOOL, 3, &[0, 1, 7])), &["k: found a bool of value 7"]);
    says(
        &small().raw("k", array(kind::ARRAY, 1, &array(kind::U8, 1, &[1])[4..])),
        &["k: found an array of arrays"],
    );
    says(&small().raw("k", array(99, 1, &[1])), &["k: found type 99"]);
    for key in [&b"\xff\xfe"[..], b"a\0b"] {
        let mut file = small();
        file.keys.push((key.to_vec(), [&kind::U8.to_le_bytes()[..], &[1]].concat()));
        says(&file, &["key 6 of 6: found a name that is not text"]);
    }
    says(&small().u32("", 1), &["key 6 of 6: found a name of 0 bytes"]);
    says(&small().u32(&"k".repeat(70_000), 1), &["found a name of 70000 bytes"]);
    for alignment in [0, 3, 48, 1 << 21] {
        let file = Gguf::new().u32("general.alignment", alignment);
        says(&file, &["general.alignment: found", "expected a power of two"]);
    }
    says(&Gguf::new().str("general.alignment", "32"), &["general.alignment: found string"]);
    let split = small().number("split.count", kind::U16, &[3, 0]);
    refused(open("m.gguf", split.bytes()), BAD, &["part 2 of m.gguf", "found 1 of 3 parts"]);
    open("m.gguf", small().number("split.count", kind::U16, &[1, 0]).bytes()).unwrap();
}

#[test]
fn tensors_are_checked() {
    let with = |change: fn(&mut crate::common::gguf::Tensor)| small().change("b", change);
    says(&with(|b| b.axes = vec![]), &["tensor b: found 0 axes, expected 1 to 4"]);
    says(&with(|b| b.axes = vec![32, 1, 1, 1, 1]), &["tensor b: found 5 axes"]);
    for axes in [vec![32, 0], vec![0], vec![0, 7]] {
        let empty = small().change("b", |b| b.axes = axes);
        assert!(open("m.gguf", empty.bytes()).unwrap().tensors.keys().eq(["a"]));
    }
    says(
        &with(|b| b.axes = vec![31, 1]),
        &["tensor b: shape [1, 31]", "Q4_0 row: found 31 weights, expected whole blocks of 32"],
    );
    // With 32-bit addresses a single axis can be too long.
    let (what, why) = match cfg!(target_pointer_width = "32") {
        true => ("axis", "expected at most 4294967295"),
        false => ("shape", "too many weights"),
    };
    says(&with(|b| b.axes = vec![32, 1 << 40, 1 << 40]), &["tensor b: ", what, why]);
    says(&with(|b| b.axes = vec![u64::MAX - 31]), &["tensor b: ", what, why]);
    says(&with(|b| b.axes = vec![1 << 62, 4]), &["tensor b: ", what, why]);
    says(&with(|b| b.offset = Some(33)), &["tensor b: found offset 33, expected a multiple of 32"]);
    says(
        &with(|b| b.offset = Some(0)),
        &["tensor a: found a start at byte", "the end of tensor b"],
    );
    says(&with(|b| b.offset = Some(u64::MAX - 31)), &["tensor b", "inside the file"]);
    says(&with(|b| b.name = b"a".to_vec()), &["tensor a: found the tensor twice"]);
    says(&with(|b| b.name = vec![]), &["tensor 2 of 2: found a name of 0 bytes"]);
    says(&with(|b| b.name = vec![0xff]), &["tensor 2 of 2: found a name that is not text"]);
    // A large but possible offset: the header is valid, the file is truncated.
    let far = open("m.gguf", with(|b| b.offset = Some(1 << 40)).bytes()).unwrap();
    refused(
        far.check_complete(),
        BAD,
        &["m.gguf: tensor b: found the end of the file", "expected bytes 1099"],
    );
    // The first tensor overlaps the second.
    let long = small().change("a", |a| a.axes = vec![3, 20]);
    says(&long, &["tensor b: found a start at byte", "the end of tensor a"]);
}

#[test]
fn unsupported_formats_are_named() {
    for (number, name) in
        [(9, "Q8_1"), (19, "IQ1_S"), (28, "F64"), (29, "IQ1_M"), (34, "TQ1_0"), (77, "unknown")]
    {
        let file = small().change("b", |b| b.type_number = number);
        let words = [&format!("tensor b: found format {name} (type {number})"), "Q4_K, Q5_K, Q6_K"];
        refused(
            open("m.gguf", file.bytes()),
            Code::UnsupportedFormat,
            &words.map(|word| word as &str),
        );
    }
}

#[test]
fn wrong_sets_of_files_are_refused() {
    let source =
        |name: &str| -> Rc<dyn ByteSource> { Rc::new(MemorySource::new(name, small().bytes())) };
    refused(open_all(vec![]), Code::InvalidRequest, &["model: found 0 files"]);
    refused(
        open_all(vec![source("a.txt"), source("b.txt")]),
        Code::InvalidRequest,
        &["a.txt, b.txt"],
    );
    refused(
        open_all(vec![source("a.gguf"), source("b.gguf")]),
        Code::InvalidRequest,
        &["found 2 .gguf files"],
    );
    // A single file is identified by its content, one of several by its name.
    assert_eq!(open_all(vec![source("download")]).unwrap().name, "download");
    let pair = open_all(vec![source("README.md"), source("model.GGUF")]).unwrap();
    assert_eq!((pair.name.as_str(), pair.tensors["a"].file), ("model.GGUF", 1));
}
