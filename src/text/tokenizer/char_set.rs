//! Sets of characters, as split patterns write them: Unicode categories, ranges, and their unions.
//!
//! The categories are those that `bitcannon` distinguishes, whose tables the crate's own splitters
//! use, so that both agree on the version of Unicode.

use bitcannon::classify::classify;

/// Characters of the category Nl, which shares its tag with Nd. Han numbers have another tag.
const LETTER_NUMBERS: &[(char, char)] = &[
    ('\u{16ee}', '\u{16f0}'),
    ('\u{2160}', '\u{2182}'),
    ('\u{2185}', '\u{2188}'),
    ('\u{a6e6}', '\u{a6ef}'),
    ('\u{10140}', '\u{10174}'),
    ('\u{10341}', '\u{10341}'),
    ('\u{1034a}', '\u{1034a}'),
    ('\u{103d1}', '\u{103d5}'),
    ('\u{12400}', '\u{1246e}'),
];
/// A set of characters.
#[derive(Debug, Clone, Default)]
pub(super) struct CharSet {
    /// Bits of the ASCII characters in the set.
    ascii: u128,
    /// Bits of the tags whose other characters are in the set.
    tags: u64,
    /// Ranges of other characters in the set.
    ranges: Vec<(char, char)>,
    /// Characters that are not in the set in spite of their tags.
    without: &'static [(char, char)],
    /// True if the other characters in the set are those that the fields above lack.
    negated: bool,
}

impl CharSet {
    /// Set of one character.
    pub(super) fn of(character: char) -> Self {
        Self::range(character, character)
    }

    /// Set of the characters from `first` to `last`.
    pub(super) fn range(first: char, last: char) -> Self {
        let mut set = Self::default();
        set.insert_range(first, last);
        set
    }

    /// The category `\p{name}`, if it can be distinguished: `Lu` and `Lt` only together, as `Lm`
    /// and `Lo`.
    pub(super) fn category(name: &str) -> Option<Self> {
        const SYMBOLS: &str = "$+<=>^`|~";
        let is_symbol = |character: char| SYMBOLS.contains(character);
        Some(match name {
            "L" => Self::like("ªÉé中", |c| c.is_ascii_alphabetic()),
            "Lu" | "Lt" => Self::like("É", |c| c.is_ascii_uppercase()),
            "Ll" => Self::like("é", |c| c.is_ascii_lowercase()),
            "Lm" | "Lo" => Self::like("ª中", |_| false),
            "M" => Self::like("\u{301}", |_| false),
            "N" => Self::like("٣²〇", |c| c.is_ascii_digit()),
            "Nd" => Self { without: LETTER_NUMBERS, ..Self::like("٣", |c| c.is_ascii_digit()) },
            "P" => Self::like("‿«", |c| c.is_ascii_punctuation() && !is_symbol(c)),
            "S" => Self::like("€Ⓐ⺀", is_symbol),
            "Han" => Self::like("中〇⺀", |_| false),
            _ => return None,
        })
    }

    /// White space, in the sense of `\s`.
    pub(super) fn white_space() -> Self {
        Self::like("\u{a0}", |c| c.is_ascii_whitespace() || c == '\u{b}')
    }

    /// The ASCII characters for which `is_in` is true, and the others that have the tag of one of
    /// `samples`.
    fn like(samples: &str, is_in: impl Fn(char) -> bool) -> Self {
        let bytes = (0..128u8).filter(|&byte| is_in(char::from(byte)));
        let tags = samples.chars().map(|sample| {
            let mut tags = [0; 4];
            classify(sample.encode_utf8(&mut [0; 4]).as_bytes(), &mut tags);
            bit(tags[0])
        });
        Self {
            ascii: bytes.fold(0, |bits, byte| bits | 1 << byte),
            tags: tags.fold(0, |bits, tag| bits | tag),
            ..Self::default()
        }
    }

    /// Adds the characters from `first` to `last`.
    pub(super) fn insert_range(&mut self, first: char, last: char) {
        for byte in (first as u32)..=(last as u32).min(127) {
            self.ascii |= 1 << byte;
        }
        if last > '\u{7f}' {
            self.ranges.push((first.max('\u{80}'), last));
        }
    }

    /// Adds a set that is not negated; false if both sets exclude characters from their tags.
    #[must_use]
    pub(super) fn insert(&mut self, other: &Self) -> bool {
        let has_exceptions = !self.without.is_empty() || !other.without.is_empty();
        let overlaps = self.tags & other.tags != 0;
        if self.negated || other.negated || (has_exceptions && overlaps) {
            return false;
        }
        self.ascii |= other.ascii;
        self.tags |= other.tags;
        self.ranges.extend_from_slice(&other.ranges);
        if !other.without.is_empty() {
            self.without = other.without;
        }
        true
    }

    /// The characters that are not in the set.
    pub(super) fn complement(self) -> Self {
        Self { ascii: !self.ascii, negated: !self.negated, ..self }
    }

    /// Adds the other case of the letters that are in the set, as case-insensitive patterns do.
    pub(super) fn fold_case(&mut self) {
        for letter in b'a'..=b'z' {
            let both = 1 << letter | 1 << letter.to_ascii_uppercase();
            if self.ascii & both != 0 {
                self.ascii |= both;
                match letter {
                    b's' => self.insert_range('ſ', 'ſ'),
                    b'k' => self.insert_range('\u{212a}', '\u{212a}'),
                    _ => {}
                }
            }
        }
    }

    /// True if `character`, whose tag is `tag`, is in the set.
    pub(super) fn contains(&self, character: char, tag: u8) -> bool {
        if character.is_ascii() {
            return self.ascii >> (character as u32) & 1 != 0;
        }
        let is_within = |ranges: &[(char, char)]| {
            ranges.iter().any(|&(first, last)| (first..=last).contains(&character))
        };
        let is_tagged = self.tags & bit(tag) != 0 && !is_within(self.without);
        (is_tagged || is_within(&self.ranges)) != self.negated
    }

    /// True if only the whole of each pair of categories that share a tag is in the set: `names`
    /// are the categories that the pattern unites.
    pub(super) fn are_whole(names: &[String]) -> bool {
        let has = |name: &str| names.iter().any(|known| known == name);
        has("Lu") == has("Lt") && has("Lm") == has("Lo")
    }
}

fn bit(tag: u8) -> u64 {
    1u64.checked_shl(u32::from(tag)).unwrap_or(0)
}

/// Tags of the bytes of a text: the tag of a character is that of its first byte.
pub(super) fn tags_of<'a>(text: &str, tags: &'a mut Vec<u8>) -> &'a [u8] {
    tags.clear();
    tags.resize(text.len(), 0);
    classify(text.as_bytes(), tags);
    tags
}
