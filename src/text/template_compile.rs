//! Compilation of a chat template, bounded before and rewritten after.
//!
//! The parser, the code generator and the drop of a syntax tree recurse, one level for every
//! operator of a chain and every block within a block: nesting is counted over the tokens first.
//! Then the operators are led past [`super::template_operators`]: a filter of its own sees their
//! operands before they run, which is what the engine has no hook for.

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error as TemplateError, Value};

use super::chat_operators::mapping_method;
use super::template_operators::operator;

/// Most tokens of a template; real ones have up to 2,000.
const MAX_TOKENS: usize = 1 << 16;
/// Most operators and brackets that stand within or after each other in one tag; real ones have 60.
const MAX_CHAIN: usize = 300;
/// Most brackets within each other in one tag; real ones have 5.
const MAX_BRACKETS: usize = 32;
/// Most blocks within each other; real ones have 10.
const MAX_BLOCKS: usize = 32;
/// Most blocks within each other with the `elif` they follow: each is a block in the one before.
const MAX_BRANCHES: usize = 128;
/// Most filters whose place the engine remembers while it renders.
const MAX_LOCALS: usize = 50;

/// What a template does not keep to, and the line.
pub(super) struct Refusal {
    pub(super) line: u16,
    pub(super) message: String,
}

/// Why a template does not compile.
pub(super) enum Failure {
    Refused(Refusal),
    Syntax(TemplateError),
}

/// The instructions of `source`, whose operators are guarded.
pub(super) fn compile<'a>(
    source: &'a str,
    syntax: &SyntaxConfig,
) -> Result<Instructions<'a>, Failure> {
    check_nesting(source, syntax).map_err(Failure::Refused)?;
    let tree = parse(source, "chat", syntax.clone()).map_err(Failure::Syntax)?;
    let mut generator = CodeGenerator::new("chat", source);
    generator.compile_stmt(&tree);
    let (instructions, _) = generator.finish();
    guarded(&instructions, source).map_err(Failure::Refused)
}

/// A tag, or what stands between two brackets of it: how deep its syntax tree may be.
#[derive(Default)]
struct Level {
    /// Tokens since the last comma, each of which may hold those before it.
    tokens: usize,
    /// The deepest bracket since the last comma.
    inner: usize,
    /// The deepest of the parts before it.
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

/// Counts what nests, an upper bound for what the parser will find.
#[derive(Default)]
struct Nesting<'a> {
    /// The brackets that are open in this tag, after the tag itself.
    levels: Vec<Level>,
    /// The number of `elif` in every block that is open.
    blocks: Vec<usize>,
    /// The first word of this tag, and whether it assigns.
    word: Option<&'a str>,
    assigns: bool,
}

fn check_nesting(source: &str, syntax: &SyntaxConfig) -> Result<(), Refusal> {
    let mut nesting = Nesting::default();
    for (count, token) in tokenize(source, false, syntax.clone()).enumerate() {
        // What the lexer refuses, the parser reports.
        let Ok((token, span)) = token else { return Ok(()) };
        let refuse = |message| Refusal { line: span.start_line, message };
        if count >= MAX_TOKENS {
            return Err(refuse(format!("more than {MAX_TOKENS} tokens, expected at most as many")));
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
                "brackets nest deeper than {MAX_BRACKETS}, expected at most as deep"
            ));
        }
        let open: usize = self.levels.iter().map(|level| level.tokens).sum();
        if open > MAX_CHAIN || self.levels.last().is_some_and(|level| level.depth() > MAX_CHAIN) {
            return Err(format!(
                "an expression chains or nests more than {MAX_CHAIN} operators, expected at most as many"
            ));
        }
        Ok(())
    }

    /// Counts the block that a tag opens, continues or closes.
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
            return Err(format!("blocks nest deeper than {MAX_BLOCKS}, expected at most as deep"));
        }
        if self.blocks.len() + self.blocks.iter().sum::<usize>() > MAX_BRANCHES {
            return Err(format!(
                "blocks and `elif` within each other are more than {MAX_BRANCHES}, expected at most as many"
            ));
        }
        Ok(())
    }
}

/// What leads an instruction past the accounting.
enum Guard {
    /// Nothing: it takes no longer for a larger value.
    No,
    /// A filter sees this many operands, and they are put back.
    Operands(&'static str, u16),
    /// A filter puts another value in the place of the topmost.
    Top(&'static str),
    /// A filter does the instruction's work with this many operands.
    Instead(&'static str, u16),
    /// A filter sees the result.
    Result(&'static str),
    /// A filter sees this many operands, and another the result.
    Both(&'static str, &'static str),
}

/// Every instruction stands here or in [`is_bounded`] by name: a new one is refused.
fn guard(instruction: &Instruction<'_>) -> Result<Guard, &'static str> {
    let arguments =
        |count: usize| u16::try_from(count).map_err(|_| "a literal with more than 65535 values");
    Ok(match instruction {
        Instruction::Add => Guard::Instead(operator::ADD, 2),
        Instruction::Rem => Guard::Instead(operator::REMAINDER, 2),
        Instruction::GetAttr(name) => match mapping_method(name) {
            Some(operator) => Guard::Instead(operator, 1),
            None => Guard::No,
        },
        Instruction::Mul => Guard::Both(operator::MULTIPLY, operator::SETTLE),
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::CompareAndPreserve(_) => Guard::Operands(operator::COMPARE, 2),
        Instruction::In => Guard::Operands(operator::CONTAIN, 2),
        Instruction::GetItem => Guard::Operands(operator::ITEM, 2),
        Instruction::SetAttr(_) => Guard::Operands(operator::SET, 2),
        Instruction::Slice => Guard::Instead(operator::SLICE, 4),
        Instruction::StringConcat => Guard::Instead(operator::CONCAT, 2),
        Instruction::BuildMap(pairs) => {
            Guard::Instead(operator::MAP, arguments(pairs.saturating_mul(2))?)
        }
        Instruction::MergeKwargs(count) => Guard::Instead(operator::KEYWORDS, arguments(*count)?),
        Instruction::BuildList(_) | Instruction::BuildTuple(_) => Guard::Result(operator::NEST),
        Instruction::UnpackList(_)
        | Instruction::PushLoop(_)
        | Instruction::FastRecurse
        | Instruction::CallFunction(_, Some(1)) => Guard::Top(operator::ITERATE),
        // The methods of `loop`: no other object has its own.
        Instruction::CallMethod("changed" | "cycle", Some(count)) => {
            Guard::Operands(operator::LOOP, *count)
        }
        Instruction::CallMethod("changed" | "cycle", None) => {
            return Err("`*` in a method of `loop`");
        }
        // There is one template, and nothing that extends it.
        Instruction::CallBlock(_)
        | Instruction::FastSuper
        | Instruction::LoadBlocks
        | Instruction::Include(_)
        | Instruction::ExportLocals => return Err("a block of, or from, another template"),
        // Rewritten where they stand.
        Instruction::EmitRaw(_) | Instruction::UnpackLists(_) => Guard::No,
        // Filters, tests, functions and methods account for themselves, as does what is written.
        Instruction::ApplyFilter(..)
        | Instruction::PerformTest(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_)
        | Instruction::Emit => Guard::No,
        other if is_bounded(other) => Guard::No,
        _ => return Err("an instruction that is not accounted for"),
    })
}

/// Whether an instruction takes a fixed effort, or works on numbers only.
fn is_bounded(instruction: &Instruction<'_>) -> bool {
    matches!(
        instruction,
        Instruction::Sub
            | Instruction::Div
            | Instruction::IntDiv
            | Instruction::Pow
            | Instruction::Neg
            | Instruction::Not
            | Instruction::StoreLocal(_)
            | Instruction::Lookup(_)
            | Instruction::LoadConst(_)
            | Instruction::BuildKwargs(_)
            | Instruction::PushWith
            | Instruction::Iterate(_)
            | Instruction::PushDidNotIterate
            | Instruction::PopFrame
            | Instruction::PopLoopFrame
            | Instruction::Jump(_)
            | Instruction::JumpIfFalse(_)
            | Instruction::JumpIfFalseOrPop(_)
            | Instruction::JumpIfTrueOrPop(_)
            | Instruction::PushAutoEscape
            | Instruction::PopAutoEscape
            | Instruction::BeginCapture(_)
            | Instruction::EndCapture
            | Instruction::DupTop
            | Instruction::DiscardTop
            | Instruction::Swap
            | Instruction::BuildMacro(..)
            | Instruction::Return
            | Instruction::IsUndefined
            | Instruction::Enclose(_)
            | Instruction::GetClosure
    )
}

/// Instructions in the making.
struct Rewriter<'a> {
    out: Instructions<'a>,
    /// The names of filters, by their place in what the engine remembers.
    filters: Vec<&'a str>,
    line: u16,
}

impl<'a> Rewriter<'a> {
    fn add(&mut self, instruction: Instruction<'a>) -> u32 {
        self.out.add_with_line(instruction, self.line)
    }

    fn filter(&mut self, name: &'a str, count: Option<u16>) -> u32 {
        let known = self.filters.iter().position(|known| *known == name);
        let place = known.unwrap_or_else(|| {
            self.filters.push(name);
            self.filters.len() - 1
        });
        let place = if place < MAX_LOCALS { place as u8 } else { u8::MAX };
        self.add(Instruction::ApplyFilter(name, count, place))
    }

    /// Operands past a filter, which gives them back topmost first.
    fn operands(&mut self, name: &'static str, count: u16) {
        self.filter(name, Some(count));
        self.add(Instruction::UnpackList(usize::from(count)));
    }

    fn rewrite(&mut self, instruction: &Instruction<'a>) -> Result<(), &'static str> {
        match guard(instruction)? {
            Guard::No => match instruction {
                // Written as a value is, so that what is written is counted in one place.
                Instruction::EmitRaw(text) => {
                    self.add(Instruction::LoadConst(Value::from(*text)));
                    self.add(Instruction::Emit);
                }
                Instruction::UnpackLists(count) => {
                    let count = u16::try_from(*count)
                        .map_err(|_| "a call with more than 65535 arguments")?;
                    self.filter(operator::ARGUMENTS, Some(count));
                    self.add(Instruction::UnpackLists(1));
                }
                Instruction::ApplyFilter(name, count, _) => {
                    self.filter(name, *count);
                }
                _ => {
                    self.add(instruction.clone());
                }
            },
            Guard::Operands(name, count) => {
                self.operands(name, count);
                self.add(instruction.clone());
            }
            Guard::Top(name) => {
                self.filter(name, Some(1));
                self.add(instruction.clone());
            }
            Guard::Instead(name, count) => {
                self.filter(name, Some(count));
            }
            Guard::Result(name) => {
                self.add(instruction.clone());
                self.filter(name, Some(1));
            }
            Guard::Both(before, after) => {
                self.operands(before, 2);
                self.add(instruction.clone());
                self.filter(after, Some(1));
            }
        }
        Ok(())
    }
}

/// The same instructions with their guards, and jumps to where their targets went.
fn guarded<'a>(
    instructions: &Instructions<'a>,
    source: &'a str,
) -> Result<Instructions<'a>, Refusal> {
    let mut rewriter =
        Rewriter { out: Instructions::new("chat", source), filters: Vec::new(), line: 1 };
    let mut places = Vec::new();
    let mut length = 0;
    for index in 0.. {
        places.push(length);
        let Some(instruction) = instructions.get(index) else { break };
        rewriter.line = instructions.get_line(index).map_or(rewriter.line, |line| line as u16);
        rewriter.rewrite(instruction).map_err(|found| Refusal {
            line: rewriter.line,
            message: format!("{found}, expected none"),
        })?;
        while rewriter.out.get(length).is_some() {
            length += 1;
        }
    }
    let mut out = rewriter.out;
    for index in 0..length {
        if let Some(
            Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::Iterate(target)
            | Instruction::BuildMacro(_, target, _),
        ) = out.get_mut(index)
        {
            *target = places.get(*target as usize).copied().unwrap_or(length);
        }
    }
    Ok(out)
}
