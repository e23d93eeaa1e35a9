//! GGUF models split into several files, valid and invalid.

use std::rc::Rc;

use tablm::engine::{DeviceChoice, Engine, LoadOptions, estimate};
use tablm::formats::Format;
use tablm::weights::Checkpoint;
use tablm::weights::source::{ByteSource, MemorySource};
use tablm::{Code, Error};

use crate::common::gguf::{Gguf, kind, tiny_llama};
use crate::{open_all, refused};

const BAD: Code = Code::Malformed;

/// Files by name.
#[derive(Clone)]
pub(crate) struct Files(pub(crate) Vec<(String, Gguf)>);

/// Adds the metadata of a part.
fn numbered(file: Gguf, number: u16, count: u16, tensors: i32) -> Gguf {
    ["split.no", "split.count", "split.tensors.count"]
        .iter()
        .fold(file, |file, key| file.without_key(key))
        .number("split.no", kind::U16, &number.to_le_bytes())
        .number("split.count", kind::U16, &count.to_le_bytes())
        .number("split.tensors.count", kind::I32, &tensors.to_le_bytes())
}

/// A model in three parts, the first without tensors, as by `gguf-split --no-tensor-first-split`.
pub(crate) fn parts() -> Files {
    let whole = tiny_llama(64, Format::Q4_0);
    let count = whole.tensors.len();
    let mut files = Vec::new();
    for (number, range) in [(0_u16, 0..0), (1, 0..7), (2, 7..count)] {
        let first = if number == 0 { whole.clone() } else { Gguf::new() };
        let tensors = whole.tensors[range].to_vec();
        let part = numbered(Gguf { tensors, ..first }, number, 3, count as i32);
        files.push((format!("tiny-0000{}-of-00003.gguf", number + 1), part));
    }
    Files(files)
}

impl Files {
    fn sources(&self) -> Vec<Rc<dyn ByteSource>> {
        let source =
            |(name, file): &(String, Gguf)| Rc::new(MemorySource::new(name, file.bytes())) as Rc<_>;
        self.0.iter().map(source).collect()
    }

    fn open(&self) -> Result<Checkpoint, Error> {
        open_all(self.sources())
    }

    /// Modifies a part.
    fn with(mut self, part: usize, change: impl FnOnce(Gguf) -> Gguf) -> Files {
        self.0[part].1 = change(self.0[part].1.clone());
        self
    }

    /// Renames a part.
    fn named(mut self, part: usize, name: &str) -> Files {
        name.clone_into(&mut self.0[part].0);
        self
    }

    fn without(mut self, part: usize) -> Files {
        self.0.remove(part);
        self
    }

    /// Checks that the files are refused as malformed, with these words.
    #[track_caller]
    fn says(self, words: &[&str]) {
        refused(self.open(), BAD, words);
    }
}

fn logits(files: Vec<Rc<dyn ByteSource>>) -> Vec<f32> {
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    pollster::block_on(async {
        let mut engine = Engine::load(files, &options, &mut |_| {}).await.unwrap();
        engine.logits(&[3, 1, 4, 1, 5]).await.unwrap()
    })
}

#[test]
fn parts_in_any_order_are_one_model() {
    let whole: Vec<Rc<dyn ByteSource>> =
        vec![Rc::new(MemorySource::new("tiny.gguf", tiny_llama(64, Format::Q4_0).bytes()))];
    let expected = logits(whole.clone());
    let mut files = parts();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mixed = Files(order.map(|part| files.0[part].clone()).to_vec());
        assert_eq!(mixed.open().unwrap().name, "tiny-00001-of-00003.gguf");
        assert_eq!(logits(mixed.sources()), expected, "{order:?}");
    }
    // Names and other files do not matter.
    for (part, name) in ["c.gguf", "a.gguf", "b.gguf"].iter().enumerate() {
        files.0[part].0 = (*name).to_owned();
    }
    files.0.push(("README.md".to_owned(), Gguf::new()));
    assert_eq!(logits(files.sources()), expected);
    let options = LoadOptions::default();
    let [of_whole, of_parts] = [whole, parts().sources()].map(|files| {
        let found = pollster::block_on(estimate(files, &options, None)).unwrap();
        (found.parameters, found.tensors.len(), found.memory.weights_bytes)
    });
    assert_eq!(of_whole, of_parts);
}

#[test]
fn invalid_parts_are_named() {
    let [second, third] = ["tiny-00002-of-00003.gguf", "tiny-00003-of-00003.gguf"];
    parts().without(1).says(&[second, "found 2 of 3 parts"]);
    parts().without(0).says(&["tiny-00001-of-00003.gguf", "found 2 of 3 parts"]);
    parts().without(0).without(0).says(&["tiny-00001-of-00003.gguf", "found 1 of 3 parts"]);
    parts()
        .without(2)
        .named(0, "a.gguf")
        .named(1, "b.gguf")
        .says(&["part 3 of a.gguf", "found 2 of 3 parts"]);
    // Two files with exchanged names, or numbers.
    parts()
        .named(1, third)
        .named(2, second)
        .says(&[third, "split.no: found 1 of 3, expected 2 of 3"]);
    let number = |number: u16, count: u16| move |file: Gguf| numbered(file, number, count, 20);
    parts().with(1, number(2, 3)).says(&[second, "split.no: found 2 of 3, expected 1 of 3"]);
    let other = |part: usize| parts().named(part, "other.gguf");
    other(2).with(2, number(1, 3)).says(&["other.gguf: split.no: found 1, as in", second]);
    other(2)
        .with(2, number(3, 3))
        .says(&["other.gguf: split.no: found 3, expected less than 3 parts"]);
    other(2).with(2, number(2, 4)).says(&["other.gguf: split.count: found 4, expected 3 as in"]);
    other(2)
        .with(2, |file| file.without_key("split.count"))
        .says(&["split.count: found 1, expected 3 as in"]);
    // Parts of other models.
    parts().named(2, "other-00003-of-00003.gguf").says(&[
        "other-00003",
        "a part of another model",
        "tiny",
    ]);
    other(2)
        .with(2, |file| {
            file.change("blk.1.ffn_down.weight", |tensor| {
                tensor.name = b"blk.0.attn_q.weight".to_vec()
            })
        })
        .says(&["other.gguf: tensor blk.0.attn_q.weight: found the tensor in", second]);
    other(2)
        .with(2, |file| file.without("blk.1.ffn_down.weight"))
        .says(&["split.tensors.count: found 19 in all parts, expected 20"]);
    other(2)
        .with(2, |file| numbered(file, 2, 3, 5))
        .says(&["other.gguf: split.tensors.count: found 5", "expected 20"]);
    let two = Files(vec![("a.gguf".to_owned(), Gguf::new()), ("b.gguf".to_owned(), Gguf::new())]);
    refused(
        two.open(),
        Code::InvalidRequest,
        &["found 2 .gguf files (a.gguf, b.gguf), expected one model"],
    );
}

#[test]
fn huge_part_counts_are_refused() {
    for count in [1001_u32, 60_000, u32::MAX] {
        let file = tiny_llama(64, Format::Q4_0).u32("split.no", 0).u32("split.count", count);
        let files = Files(vec![("m-00001-of-99999.gguf".to_owned(), file)]);
        files.says(&["m-00001-of-99999.gguf: split.count: found", "at most 1000"]);
    }
    let file = tiny_llama(64, Format::Q4_0).u32("split.no", 0).u32("split.count", 1000);
    Files(vec![("m.gguf".to_owned(), file)]).says(&["part 2 of m.gguf", "found 1 of 1000 parts"]);
    // A single file may be named like a part, or have the metadata of the only part.
    let file = || tiny_llama(64, Format::Q4_0);
    Files(vec![("m-00007-of-00009.gguf".to_owned(), file())]).open().unwrap();
    Files(vec![("m.gguf".to_owned(), numbered(file(), 0, 1, 20))]).open().unwrap();
    Files(vec![("m.gguf".to_owned(), file().u32("split.count", 0))]).open().unwrap();
}
