//! Compilation of a chat template, with accounting for its operators.
//!
//! minijinja has no hook for operators. The compiled instructions are therefore rewritten: before,
//! after or instead of each operator that may be expensive, they apply a filter of
//! [`super::operators`].

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error as TemplateError, Value};

use super::nesting::{Refusal, check_nesting};
use super::operators::operator;
use super::python_operators::mapping_method;

/// Maximum filters whose lookup minijinja caches during a rendering.
const MAX_CACHED_FILTERS: usize = 50;

/// Reason why a template does not compile.
pub(super) enum CompileError {
    Refused(Refusal),
    Syntax(TemplateError),
}

/// Compiles `source` to instructions with accounting.
pub(super) fn compile<'a>(
    source: &'a str,
    syntax: &SyntaxConfig,
) -> Result<Instructions<'a>, CompileError> {
    check_nesting(source, syntax).map_err(CompileError::Refused)?;
    let tree = parse(source, "chat", syntax.clone()).map_err(CompileError::Syntax)?;
    let mut generator = CodeGenerator::new("chat", source);
    generator.compile_stmt(&tree);
    let (instructions, _) = generator.finish();
    with_accounting(&instructions, source).map_err(CompileError::Refused)
}

/// Accounting for an instruction.
enum Accounting {
    /// None: the cost does not depend on the operands.
    None,
    /// A filter sees this many operands before the instruction.
    Before(&'static str, u16),
    /// A filter sees the topmost operand before the instruction, and may replace it.
    BeforeTop(&'static str),
    /// A filter replaces the instruction and takes this many operands.
    Replace(&'static str, u16),
    /// A filter sees the result.
    After(&'static str),
    /// A filter sees two operands before the instruction, and another one the result.
    BeforeAndAfter(&'static str, &'static str),
}

/// Accounting for each instruction. Instructions that neither this function nor [`is_bounded`]
/// lists, such as those of a newer minijinja, are refused.
fn accounting(instruction: &Instruction<'_>) -> Result<Accounting, &'static str> {
    let arguments =
        |count: usize| u16::try_from(count).map_err(|_| "a literal with more than 65535 values");
    Ok(match instruction {
        Instruction::Add => Accounting::Replace(operator::ADD, 2),
        Instruction::Rem => Accounting::Replace(operator::REMAINDER, 2),
        Instruction::GetAttr(name) => match mapping_method(name) {
            Some(operator) => Accounting::Replace(operator, 1),
            None => Accounting::None,
        },
        Instruction::Mul => Accounting::BeforeAndAfter(operator::MULTIPLY, operator::MATERIALIZE),
        Instruction::Eq
        | Instruction::Ne
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::CompareAndPreserve(_) => Accounting::Before(operator::COMPARE, 2),
        Instruction::In => Accounting::Before(operator::CONTAIN, 2),
        Instruction::GetItem => Accounting::Before(operator::ITEM, 2),
        Instruction::SetAttr(_) => Accounting::Before(operator::SET, 2),
        Instruction::Slice => Accounting::Replace(operator::SLICE, 4),
        Instruction::StringConcat => Accounting::Replace(operator::CONCAT, 2),
        Instruction::BuildMap(pairs) => {
            Accounting::Replace(operator::MAP, arguments(pairs.saturating_mul(2))?)
        }
        Instruction::MergeKwargs(count) => {
            Accounting::Replace(operator::KEYWORDS, arguments(*count)?)
        }
        Instruction::BuildList(_) | Instruction::BuildTuple(_) => {
            Accounting::After(operator::MATERIALIZE)
        }
        Instruction::UnpackList(_)
        | Instruction::PushLoop(_)
        | Instruction::FastRecurse
        | Instruction::CallFunction(_, Some(1)) => Accounting::BeforeTop(operator::ITERATE),
        // Methods of `loop`, the only object with methods of its own.
        Instruction::CallMethod("changed" | "cycle", Some(count)) => {
            Accounting::Before(operator::LOOP, *count)
        }
        Instruction::CallMethod("changed" | "cycle", None) => {
            return Err("`*` in a method of `loop`");
        }
        // Only one template exists, which extends no other.
        Instruction::CallBlock(_)
        | Instruction::FastSuper
        | Instruction::LoadBlocks
        | Instruction::Include(_)
        | Instruction::ExportLocals => return Err("a block of, or from, another template"),
        // Handled by the rewriter.
        Instruction::EmitRaw(_) | Instruction::UnpackLists(_) => Accounting::None,
        // Filters, tests, functions, methods and output have accounting of their own.
        Instruction::ApplyFilter(..)
        | Instruction::PerformTest(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_)
        | Instruction::Emit => Accounting::None,
        other if is_bounded(other) => Accounting::None,
        _ => return Err("an instruction without accounting"),
    })
}

/// True if an instruction has a bounded cost, or operates on numbers only.
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

/// Builds the rewritten instructions.
struct Rewriter<'a> {
    out: Instructions<'a>,
    /// Filter names in the order of minijinja's lookup cache.
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
        let place = if place < MAX_CACHED_FILTERS { place as u8 } else { u8::MAX };
        self.add(Instruction::ApplyFilter(name, count, place))
    }

    /// Passes operands to a filter, which returns them, topmost first.
    fn operands(&mut self, name: &'static str, count: u16) {
        self.filter(name, Some(count));
        self.add(Instruction::UnpackList(usize::from(count)));
    }

    fn rewrite(&mut self, instruction: &Instruction<'a>) -> Result<(), &'static str> {
        match accounting(instruction)? {
            Accounting::None => match instruction {
                // Emitted as a value, so that output is counted in one place.
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
            Accounting::Before(name, count) => {
                self.operands(name, count);
                self.add(instruction.clone());
            }
            Accounting::BeforeTop(name) => {
                self.filter(name, Some(1));
                self.add(instruction.clone());
            }
            Accounting::Replace(name, count) => {
                self.filter(name, Some(count));
            }
            Accounting::After(name) => {
                self.add(instruction.clone());
                self.filter(name, Some(1));
            }
            Accounting::BeforeAndAfter(before, after) => {
                self.operands(before, 2);
                self.add(instruction.clone());
                self.filter(after, Some(1));
            }
        }
        Ok(())
    }
}

/// Rewrites the instructions with accounting, and adjusts jump targets.
fn with_accounting<'a>(
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
            message: format!("found {found}, expected none"),
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
