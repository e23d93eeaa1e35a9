//! Bounds on the nesting of a template's source.
//!
//! The parser, the code generator and the destructor of a syntax tree are recursive, one level for
//! every operator in a chain and every nested block. Nesting is therefore counted over the tokens
//! before parsing, as an upper bound of what the parser will find.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

/// Maximum tokens of a template; real ones have up to 2,000.
const MAX_TOKENS: usize = 1 << 16;
/// Maximum chained or nested operators and brackets in one tag; real templates have 60.
const MAX_CHAIN: usize = 300;
/// Maximum nested brackets in one tag; real templates have 5.
const MAX_BRACKETS: usize = 32;
/// Maximum nested blocks; real templates have 10.
const MAX_BLOCKS: usize = 32;
/// Maximum nested blocks including preceding `elif` branches, each of which nests in the previous.
const MAX_BRANCHES: usize = 128;

/// The line at which a template exceeds a limit, and the message about it.
pub(super) struct Refusal {
    pub(super) line: u16,
    pub(super) message: String,
}

/// Depth of the syntax tree of a tag, or of the expression inside one of its brackets.
#[derive(Default)]
struct Level {
    /// Tokens since the last comma; each may be a parent of the previous ones.
    tokens: usize,
    /// Depth of the deepest bracket since the last comma.
    inner: usize,
    /// Depth of the deepest part before the last comma.
    before: usize,
}

impl Level {
    fn end_part(&mut self) {
        self.before = self.depth();
        (self.tokens, self.inner) = (0, 0);
    }

    fn depth(&self) -> usize {
        self.before.max(self.tokens + self.inner)
    }
}

/// Counts nesting token by token.
#[derive(Default)]
struct Nesting<'a> {
    /// The tag itself and its open brackets.
    levels: Vec<Level>,
    /// Number of `elif` branches of each open block.
    blocks: Vec<usize>,
    /// First word of the current tag, and whether the tag contains an assignment.
    word: Option<&'a str>,
    assigns: bool,
}

/// Checks the limits of this module.
pub(super) fn check_nesting(source: &str, syntax: &SyntaxConfig) -> Result<(), Refusal> {
    let mut nesting = Nesting::default();
    for (count, token) in tokenize(source, false, syntax.clone()).enumerate() {
        // Errors of the lexer are reported by the parser.
        let Ok((token, span)) = token else { return Ok(()) };
        let refuse = |message| Refusal { line: span.start_line, message };
        if count >= MAX_TOKENS {
            let message = format!("found more than {MAX_TOKENS} tokens, expected at most as many");
            return Err(refuse(message));
        }
        nesting.add(&token).map_err(refuse)?;
    }
    Ok(())
}

impl<'a> Nesting<'a> {
    fn add(&mut self, token: &Token<'a>) -> Result<(), String> {
        match token {
            Token::TemplateData(_) => return Ok(()),
            Token::VariableStart | Token::BlockStart => {
                self.levels = vec![Level::default()];
                (self.word, self.assigns) = (None, false);
                return Ok(());
            }
            Token::VariableEnd => return Ok(()),
            Token::BlockEnd => return self.end_tag(),
            Token::Ident(word) if self.word.is_none() => self.word = Some(word),
            Token::Assign if self.levels.len() == 1 => self.assigns = true,
            _ => {}
        }
        self.word.get_or_insert("");
        let closes = matches!(token, Token::ParenClose | Token::BracketClose | Token::BraceClose);
        let inner = if closes && self.levels.len() > 1 { self.levels.pop() } else { None };
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        match token {
            Token::Comma | Token::Colon => level.end_part(),
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                level.tokens += 1;
                self.levels.push(Level::default());
            }
            _ => match inner {
                Some(inner) => level.inner = level.inner.max(inner.depth()),
                None => level.tokens += 1,
            },
        }
        if self.levels.len() > MAX_BRACKETS + 1 {
            return Err(format!(
                "found brackets nested deeper than {MAX_BRACKETS}, expected at most as deep"
            ));
        }
        let open: usize = self.levels.iter().map(|level| level.tokens).sum();
        if open > MAX_CHAIN || self.levels.last().is_some_and(|level| level.depth() > MAX_CHAIN) {
            return Err(format!(
                "found more than {MAX_CHAIN} chained or nested operators, expected at most as many"
            ));
        }
        Ok(())
    }

    /// Counts a block that the current tag opens, continues or closes.
    fn end_tag(&mut self) -> Result<(), String> {
        match self.word {
            Some("for" | "if" | "with" | "autoescape" | "filter" | "macro" | "call" | "block") => {
                self.blocks.push(0);
            }
            Some("set") if !self.assigns => self.blocks.push(0),
            Some("elif") => {
                if let Some(branches) = self.blocks.last_mut() {
                    *branches += 1;
                }
            }
            Some(word) if word.starts_with("end") => {
                self.blocks.pop();
            }
            _ => {}
        }
        if self.blocks.len() > MAX_BLOCKS {
            return Err(format!(
                "found blocks nested deeper than {MAX_BLOCKS}, expected at most as deep"
            ));
        }
        if self.blocks.len() + self.blocks.iter().sum::<usize>() > MAX_BRANCHES {
            return Err(format!(
                "found more than {MAX_BRANCHES} nested blocks and `elif` branches, expected at \
                 most as many"
            ));
        }
        Ok(())
    }
}
