//! Added tokens with every combination of flags, matched and decoded as by Hugging Face.

use serde_json::Value;
use tablm::text::Tokenizer;

use super::{ids, json, text};

#[test]
fn added_tokens_of_every_kind_give_the_ids_and_texts_of_hugging_face() {
    let golden = json("added.json");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for set in golden["sets"].as_array().expect("sets") {
        let mut file = set["file"].clone();
        file["model"] = golden["models"][text(&set["vocabulary"])].clone();
        let tokenizer =
            Tokenizer::from_json("t", file.to_string().as_bytes(), None).expect("a tokenizer");
        for case in set["cases"].as_array().expect("cases") {
            let source = text(&case[0]);
            let found = tokenizer.encode(source).expect(source);
            let plain = tokenizer.encode_plain(source).expect(source);
            let decode = |skip| tokenizer.decode(&ids(&case[1]), skip).expect(source);
            let found = (found, plain, decode(true), decode(false));
            let expected = (
                ids(&case[1]),
                ids(&case[2]),
                text(&case[3]).to_owned(),
                text(&case[4]).to_owned(),
            );
            if found != expected {
                let tokens: &Value = &set["file"]["added_tokens"];
                wrong.push(format!("{source:?}\n found {found:?}\n  want {expected:?}\n{tokens}"));
            }
            count += 1;
        }
    }
    let shown = &wrong[..wrong.len().min(5)];
    assert!(
        count > 300 && wrong.is_empty(),
        "{} of {count} are wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}
