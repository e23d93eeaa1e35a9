//! Streaming: incomplete characters and possible stop strings are held back, and no text is lost.

use tablm::text::{StopPiece, StopStrings, StreamingDecoder, Tokenizer};

use super::{Random, fixture, json, text};

fn small() -> Tokenizer {
    Tokenizer::from_json("small_tokenizer.json", &fixture("small_tokenizer.json"), None)
        .expect("a tokenizer")
}

/// Ids of single-byte tokens, which split every character into bytes.
fn byte_ids(tokenizer: &Tokenizer, bytes: &[u8]) -> Vec<u32> {
    let id_of = |byte: &u8| {
        let ids = 0..tokenizer.vocabulary_size() as u32;
        let mut ids = ids
            .filter(|&id| !tokenizer.is_special(id) && *tokenizer.token_bytes(id, true) == [*byte]);
        ids.next().unwrap_or_else(|| panic!("no token for the byte {byte}"))
    };
    bytes.iter().map(id_of).collect()
}

fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut decoder = StreamingDecoder::new(tokenizer);
    let mut pieces: Vec<String> = ids.iter().map(|&id| decoder.push(tokenizer, id)).collect();
    pieces.push(decoder.finish());
    pieces
}

#[test]
fn characters_are_shown_once_complete() {
    let tokenizer = small();
    let source = "aé東🗼b𠀀";
    let shown = pieces(&tokenizer, &byte_ids(&tokenizer, source.as_bytes()));
    assert_eq!(shown.concat(), source);
    assert!(
        shown.iter().all(|piece| !piece.contains('\u{fffd}') && piece.chars().count() <= 1),
        "{shown:?}"
    );
    assert_eq!(shown[2], "é");
}

#[test]
fn invalid_bytes_become_replacement_characters_immediately() {
    let tokenizer = small();
    for bytes in [
        &b"a\x9fb"[..],
        b"\xc3(",
        b"\xe6\x9d",
        b"\xf0\x9f\x97a\xbc",
        b"\xed\xa0\x80x",
        b"\xf0\x80\x80\x80",
    ] {
        let ids = byte_ids(&tokenizer, bytes);
        let expected = String::from_utf8_lossy(bytes);
        assert_eq!(pieces(&tokenizer, &ids).concat(), expected, "{bytes:?}");
        assert_eq!(tokenizer.decode(&ids, true).expect("text"), expected, "{bytes:?}");
    }
    let shown = pieces(&tokenizer, &byte_ids(&tokenizer, b"a\x9fb"));
    assert_eq!(shown, ["a", "\u{fffd}", "b", ""]);
}

#[test]
fn streamed_pieces_concatenate_to_the_decoded_text() {
    let tokenizer = small();
    let mut random = Random(3);
    for _ in 0..300 {
        let ids: Vec<u32> = (0..random.below(60))
            .map(|_| random.below(tokenizer.vocabulary_size() + 3) as u32)
            .collect();
        assert_eq!(
            pieces(&tokenizer, &ids).concat(),
            tokenizer.decode(&ids, true).expect("text"),
            "{ids:?}"
        );
    }
}

#[test]
fn the_first_space_of_a_sentencepiece_text_is_stripped_once() {
    let file = fixture("llama_tokenizer.json");
    let tokenizer = Tokenizer::from_json("llama_tokenizer.json", &file, None).expect("a tokenizer");
    for case in json("sentencepiece.json")["cases"].as_array().expect("cases") {
        let ids = super::ids(&case["json_ids"]);
        assert_eq!(
            pieces(&tokenizer, &ids).concat(),
            text(&case["json_decoded"]),
            "{}",
            case["text"]
        );
    }
    let ids = tokenizer.encode("the harbour").expect("ids");
    let mut decoder = StreamingDecoder::continuing();
    let shown: String = ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
    assert_eq!(shown + &decoder.finish(), " the harbour");
    let with_special: Vec<u32> = tokenizer.prefix().iter().copied().chain(ids).collect();
    assert_eq!(tokenizer.decode(&with_special, true).expect("text"), "the harbour");
    assert_eq!(tokenizer.decode(&with_special, false).expect("text"), "<s> the harbour");
}

fn stop(strings: &[&str]) -> StopStrings {
    let strings: Vec<String> = strings.iter().map(|&string| string.to_owned()).collect();
    StopStrings::new(&strings).expect("stop strings")
}

#[test]
fn stop_strings_are_found_across_pieces() {
    let source = "one two éé STOP three";
    let cuts: Vec<usize> = source.char_indices().map(|(at, _)| at).collect();
    for &first in &cuts {
        for &second in cuts.iter().filter(|&&second| second >= first) {
            let mut watch = stop(&["STOP", "nothing", "éé ST!"]);
            let parts = [&source[..first], &source[first..second], &source[second..]];
            let pieces: Vec<StopPiece> = parts.iter().map(|part| watch.push(part)).collect();
            let shown: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            assert_eq!(shown + &watch.finish(), "one two éé ", "{parts:?}");
            assert_eq!((watch.stopped(), pieces[2].stopped), (Some(0), Some(0)));
        }
    }
}

#[test]
fn partial_stop_strings_are_released() {
    let mut watch = stop(&["<end>", "##"]);
    assert_eq!(watch.push("a<en").text, "a");
    assert_eq!(watch.push("x#").text, "<enx");
    assert_eq!(watch.push("!").text, "#!");
    assert_eq!(watch.push("<").text, "");
    assert_eq!(watch.finish(), "<");
    assert_eq!(watch.stopped(), None);
    assert_eq!(stop(&[]).push("all of it").text, "all of it");
}

#[test]
fn the_stop_string_found_does_not_depend_on_the_pieces() {
    let mut random = Random(11);
    for _ in 0..2000 {
        let letters = |random: &mut Random, most: usize| -> String {
            (0..1 + random.below(most)).map(|_| char::from(b'a' + random.below(3) as u8)).collect()
        };
        let strings = [letters(&mut random, 4), letters(&mut random, 4)];
        let source = letters(&mut random, 12);
        let mut whole = StopStrings::new(&strings).expect("stop strings");
        let expected = whole.push(&source).text + &whole.finish();
        let mut watch = StopStrings::new(&strings).expect("stop strings");
        let shown: String =
            source.chars().map(|letter| watch.push(&letter.to_string()).text).collect();
        assert_eq!(
            (shown + &watch.finish(), watch.stopped()),
            (expected, whole.stopped()),
            "{strings:?} {source}"
        );
    }
}

#[test]
fn stop_strings_are_checked() {
    for (strings, field) in [
        (vec![String::new()], "stop[0]: found 0"),
        (vec!["a".to_owned(), "x".repeat(1025)], "stop[1]: found 1025"),
        (vec!["a".to_owned(); 17], "stop: found 17"),
    ] {
        let error = StopStrings::new(&strings).expect_err("bad stop strings");
        assert_eq!(error.code().as_str(), "invalid-request");
        assert!(error.message().starts_with(field), "{error}");
    }
    StopStrings::new(&vec!["é".repeat(1024); 16]).expect("the maximum of stop strings");
}
