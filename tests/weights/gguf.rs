//! Valid GGUF files.

use std::cell::RefCell;
use std::rc::Rc;

use tablm::Code;
use tablm::formats::Format;
use tablm::weights::source::{ByteSource, LocalFuture, MemorySource};
use tablm::weights::{Checkpoint, Container, Metadata};

use crate::common::gguf::{Gguf, array, formats, kind, random_rows, tiny_llama};
use crate::common::random::Random;
use crate::{open, open_all, refused};

fn metadata(file: &Gguf) -> Metadata {
    match open("m.gguf", file.bytes()).unwrap().container {
        Container::Gguf(metadata) => metadata,
        Container::Safetensors(_) => panic!("a .gguf file opened as a folder"),
    }
}

fn rows(checkpoint: &Checkpoint, name: &str, first: usize, count: usize) -> tablm::Result<Vec<u8>> {
    pollster::block_on(checkpoint.read_rows(&checkpoint.tensors[name], first, count))
}

#[test]
fn every_kind_of_value_is_read() {
    let values = Gguf::new()
        .number("u8", kind::U8, &[200])
        .number("i8", kind::I8, &[0x80])
        .number("u16", kind::U16, &60_000_u16.to_le_bytes())
        .number("i16", kind::I16, &(-2_i16).to_le_bytes())
        .u32("u32", 4_000_000_000)
        .number("i32", kind::I32, &(-3_i32).to_le_bytes())
        .f32("f32", 0.1)
        .bool("bool", true)
        .str("string", "ż")
        .number("u64", kind::U64, &u64::MAX.to_le_bytes())
        .number("i64", kind::I64, &i64::MIN.to_le_bytes())
        .number("f64", kind::F64, &0.1_f64.to_le_bytes())
        .strings("strings", &["a", "", "ćd"])
        .i32s("i32s", &[-1, 0, i32::MAX])
        .f32s("f32s", &[0.5, f32::NEG_INFINITY])
        .raw("u64s", array(kind::U64, 2, &[7_u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat()))
        .raw("i8s", array(kind::I8, 2, &[0xff, 1]))
        .strings::<&str>("none", &[]);
    let read = metadata(&values);
    assert_eq!(read.file(), "m.gguf");
    assert_eq!(read.u64("u8").unwrap(), Some(200));
    assert_eq!(read.f64("i8").unwrap(), Some(-128.0));
    assert_eq!(read.u64("u16").unwrap(), Some(60_000));
    assert_eq!(read.f64("i16").unwrap(), Some(-2.0));
    assert_eq!(read.u64("u32").unwrap(), Some(4_000_000_000));
    assert_eq!(read.f64("i32").unwrap(), Some(-3.0));
    assert_eq!(read.f64("f32").unwrap(), Some(f64::from(0.1_f32)));
    assert_eq!(read.bool("bool").unwrap(), Some(true));
    assert_eq!(read.str("string").unwrap(), Some("ż"));
    assert_eq!(read.u64("u64").unwrap(), Some(u64::MAX));
    assert_eq!(read.f64("i64").unwrap(), Some(i64::MIN as f64));
    assert_eq!(read.f64("f64").unwrap(), Some(0.1));
    assert_eq!(read.strings("strings").unwrap(), Some(vec!["a", "", "ćd"]));
    assert_eq!(read.i64s("i32s").unwrap(), Some(vec![-1, 0, i64::from(i32::MAX)]));
    assert_eq!(read.f32s("f32s").unwrap(), Some(vec![0.5, f32::NEG_INFINITY]));
    assert_eq!(read.u64s_or_scalar("u64s").unwrap(), Some(vec![7, u64::MAX]));
    assert_eq!(read.u64s_or_scalar("u8").unwrap(), Some(vec![200]));
    assert_eq!(read.i64s("i8s").unwrap(), Some(vec![-1, 1]));
    assert_eq!(read.strings("none").unwrap(), Some(vec![]));
    assert_eq!(read.keys().count(), values.keys.len());
    for absent in [read.u64("absent"), read.u64s_or_scalar("absent").map(|_| None)] {
        assert_eq!(absent.unwrap(), None);
    }
    assert_eq!((read.str("absent").unwrap(), read.strings("absent").unwrap()), (None, None));
}

#[test]
fn values_of_another_type_are_refused() {
    let read = metadata(
        &Gguf::new()
            .str("text", "a")
            .number("minus", kind::I32, &(-3_i32).to_le_bytes())
            .f32("half", 0.5)
            .bool("yes", true)
            .i32s("numbers", &[4, -5])
            .f32s("floats", &[1.0])
            .strings("texts", &[b"good".as_slice(), b"b\xff", b""])
            .str("broken", [b'a', 0xc3])
            .raw("big", array(kind::U64, 1, &u64::MAX.to_le_bytes())),
    );
    let bad = Code::Malformed;
    refused(read.u64("text"), bad, &["m.gguf: text: found string, expected non-negative integer"]);
    refused(read.u64("minus"), bad, &["minus: found -3, expected non-negative integer"]);
    refused(read.u64("half"), bad, &["half: found float 0.5"]);
    refused(read.f64("yes"), bad, &["yes: found bool true, expected number"]);
    refused(read.bool("half"), bad, &["half: found float 0.5, expected bool"]);
    refused(read.str("yes"), bad, &["yes: found bool, expected string"]);
    refused(read.str("broken"), bad, &["broken: found invalid UTF-8 at byte 1"]);
    refused(
        read.strings("numbers"),
        bad,
        &["numbers: found array of i32, expected array of string"],
    );
    refused(read.strings("texts"), bad, &["texts[1]: found invalid UTF-8 at byte 1"]);
    refused(read.f32s("numbers"), bad, &["numbers: found array of i32, expected array of float"]);
    refused(read.i64s("floats"), bad, &["floats[0]: found float 1.0, expected array of integer"]);
    refused(read.i64s("texts"), bad, &["texts: found array of string"]);
    refused(read.i64s("big"), bad, &["big[0]: found 18446744073709551615"]);
    refused(read.u64s_or_scalar("numbers"), bad, &["numbers[1]: found -5"]);
    refused(read.u64s_or_scalar("text"), bad, &["text: found string"]);
    refused(read.u64s_or_scalar("half"), bad, &["half: found float 0.5"]);
}

#[test]
fn tensors_of_every_format_are_read_at_their_offsets() {
    for version in [2, 3] {
        for alignment in [8_u32, 32, 4096] {
            let mut random = Random::new(u64::from(alignment));
            let mut file = Gguf::new().u32("general.alignment", alignment);
            file.version = version;
            file.alignment = u64::from(alignment);
            for format in formats() {
                let data = random_rows(&mut random, format, 6, 512, 1.0);
                file = file.tensor(format.name(), format, &[2, 3, 512], data);
            }
            let checkpoint = open("m.gguf", file.bytes()).unwrap();
            checkpoint.check_complete().unwrap();
            assert_eq!(checkpoint.tensors.len(), formats().count());
            assert_eq!(checkpoint.parameters(), formats().count() as u64 * 6 * 512);
            for written in &file.tensors {
                let name = std::str::from_utf8(&written.name).unwrap();
                let tensor = &checkpoint.tensors[name];
                assert_eq!((tensor.format.name(), &tensor.shape[..]), (name, &[2, 3, 512][..]));
                assert_eq!((tensor.rows(), tensor.columns()), (6, 512));
                assert_eq!(tensor.size_bytes, written.data.len() as u64);
                assert_eq!(rows(&checkpoint, name, 0, 6).unwrap(), written.data);
                let row = written.data.len() / 6;
                assert_eq!(rows(&checkpoint, name, 4, 1).unwrap(), written.data[4 * row..5 * row]);
                assert_eq!(rows(&checkpoint, name, 6, 0).unwrap(), b"");
                refused(rows(&checkpoint, name, 5, 2), Code::Internal, &[name, "rows 5 + 2 of 6"]);
                refused(rows(&checkpoint, name, 1, usize::MAX), Code::Internal, &[name]);
            }
        }
    }
}

#[test]
fn a_vector_is_one_row() {
    let file = Gguf::new().tensor("norm", Format::F32, &[33], vec![0; 132]);
    let checkpoint = open("m.gguf", file.bytes()).unwrap();
    let norm = &checkpoint.tensors["norm"];
    assert_eq!((norm.rows(), norm.columns(), norm.weights()), (1, 33, 33));
}

/// A source that records its reads.
struct RecordingSource {
    inner: MemorySource,
    reads: RefCell<Vec<(u64, usize)>>,
}

impl ByteSource for RecordingSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, tablm::Result<Vec<u8>>> {
        self.reads.borrow_mut().push((offset, length));
        self.inner.read(offset, length)
    }
}

#[test]
fn long_headers_are_read_in_doubling_pieces_without_weights() {
    let tokens: Vec<String> = (0..400_000).map(|i| format!("token number {i}")).collect();
    let weights = vec![0; 8 << 20];
    let file =
        Gguf::new().strings("tokens", &tokens).tensor("w", Format::F32, &[2048, 1024], weights);
    let (bytes, header) = file.bytes_and_header();
    let source = Rc::new(RecordingSource {
        inner: MemorySource::new("m.gguf", bytes),
        reads: RefCell::new(Vec::new()),
    });
    let checkpoint = open_all(vec![source.clone()]).unwrap();
    let Container::Gguf(metadata) = &checkpoint.container else {
        panic!("a .gguf file opened as a folder")
    };
    let read = metadata.strings("tokens").unwrap().unwrap();
    assert!(read.iter().zip(&tokens).all(|(a, b)| a == b) && read.len() == tokens.len());
    let reads = source.reads.borrow();
    assert!(reads.len() < 8, "{reads:?}");
    assert_eq!(reads[0], (0, 1 << 20));
    assert!(reads.windows(2).all(|pair| pair[0].0 + pair[0].1 as u64 == pair[1].0), "{reads:?}");
    let last = reads.last().unwrap();
    assert!(last.0 + (last.1 as u64) < 2 * header as u64, "{reads:?} for a header of {header}");
}

#[test]
fn a_file_truncated_after_its_header_opens_and_names_missing_tensors() {
    let file = tiny_llama(64, Format::Q4_0);
    let (bytes, header) = file.bytes_and_header();
    let whole = open("m.gguf", bytes.clone()).unwrap();
    whole.check_complete().unwrap();
    assert_eq!(whole.tensors.len(), 2 + 2 * 9);
    // The padding after the last tensor belongs to no tensor.
    let last = whole.tensors.values().max_by_key(|tensor| tensor.offset).unwrap();
    let end = (last.offset + last.size_bytes) as usize;
    for length in [header, header + 1, bytes.len() / 2, end - 1] {
        let cut = open("m.gguf", bytes[..length].to_vec()).unwrap();
        assert_eq!(cut.tensors, whole.tensors);
        let here = format!("found the end of the file at byte {length}");
        refused(
            cut.check_complete(),
            Code::Malformed,
            &["m.gguf: tensor ", "expected bytes", &here],
        );
        refused(rows(&cut, &last.name, 0, 1), Code::Malformed, &["m.gguf", &last.name, &here]);
    }
    open("m.gguf", bytes[..end].to_vec()).unwrap().check_complete().unwrap();
    let cut = open("m.gguf", bytes[..end - 1].to_vec()).unwrap();
    refused(cut.check_complete(), Code::Malformed, &["output_norm.weight"]);
    let cut = open("m.gguf", bytes[..header].to_vec()).unwrap();
    refused(cut.check_complete(), Code::Malformed, &["token_embd.weight", "19 more tensors"]);
}

#[test]
fn fused_query_key_value_tensors_are_listed_as_three() {
    let bytes =
        |count: usize| (0..count as u32).flat_map(|i| (i as f32).to_le_bytes()).collect::<Vec<_>>();
    let with = |heads: u32| {
        Gguf::new()
            .str("general.architecture", "phi2")
            .u32("phi2.embedding_length", 6)
            .u32("phi2.attention.head_count", heads)
            .u32("phi2.attention.head_count_kv", 1)
            .tensor("blk.0.attn_qkv.weight", Format::F32, &[10, 6], bytes(60))
            .tensor("blk.0.attn_qkv.bias", Format::F32, &[10], bytes(10))
    };
    let checkpoint = open("m.gguf", with(3).bytes()).unwrap();
    let found: Vec<_> =
        checkpoint.tensors.values().map(|it| (it.name.as_str(), it.shape.as_slice())).collect();
    assert_eq!(found.len(), 6, "{found:?}");
    for (part, first, count) in [("q", 0, 6), ("k", 6, 2), ("v", 8, 2)] {
        let name = format!("blk.0.attn_{part}.weight");
        assert_eq!(checkpoint.tensors[&name].shape, [count, 6]);
        assert_eq!(
            rows(&checkpoint, &name, 0, count).unwrap(),
            bytes(60)[24 * first..24 * (first + count)]
        );
        let name = format!("blk.0.attn_{part}.bias");
        assert_eq!(
            rows(&checkpoint, &name, 0, 1).unwrap(),
            bytes(10)[4 * first..4 * (first + count)]
        );
    }
    // If its length does not match the heads, the tensor stays fused, and the model refuses it.
    for heads in [0, 2, u32::MAX] {
        let checkpoint = open("m.gguf", with(heads).bytes()).unwrap();
        assert_eq!(
            checkpoint.tensors.keys().collect::<Vec<_>>(),
            ["blk.0.attn_qkv.bias", "blk.0.attn_qkv.weight"]
        );
    }
    let twice = with(3).tensor("blk.0.attn_k.bias", Format::F32, &[2], bytes(2));
    refused(
        open("m.gguf", twice.bytes()),
        Code::Malformed,
        &["blk.0.attn_k.bias", "blk.0.attn_qkv.bias"],
    );
}
