//! Inputs that a template reads, detected in its source: the variable for tools, and whether null
//! content differs from empty content.

/// Variables that hold tools, the most common first. A template that reads several receives only
/// the first: `python_tools` repeats the same tools.
const TOOLS: [&str; 7] = [
    "tools",
    "xml_tools",
    "functions",
    "custom_tools",
    "available_tools",
    "tool_definitions",
    "python_tools",
];

/// The variable in which a template expects tools, if any.
pub fn tools_variable(source: &str) -> Option<&'static str> {
    let names = Names { rest: source, in_tag: false, after_dot: false }.collect::<Vec<_>>();
    let is_read = |variable: &&str| {
        let first = names.iter().position(|name| name == variable);
        // A name that is first assigned is the template's own variable.
        first.is_some_and(|at| at == 0 || !matches!(names.get(at - 1), Some(&"set" | &"for")))
    };
    TOOLS.into_iter().find(|variable| is_read(variable))
}

/// True if a template compares content with none or tests whether it is defined.
pub fn keeps_null_content(source: &str) -> bool {
    source.match_indices("content").any(|(at, name)| {
        let rest = source.get(at + name.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(['\'', '"', ']', ')']).trim_start();
        let rest = match rest.strip_prefix("is") {
            Some(rest) if rest.starts_with(char::is_whitespace) => {
                let rest = rest.trim_start();
                rest.strip_prefix("not").map_or(rest, str::trim_start)
            }
            _ => match rest.strip_prefix("==").or_else(|| rest.strip_prefix("!=")) {
                Some(rest) => rest.trim_start(),
                None => return false,
            },
        };
        ["none", "None", "defined", "undefined"].iter().any(|word| rest.starts_with(word))
    })
}

/// Iterator over the names inside tags, except attributes and string literals.
struct Names<'a> {
    rest: &'a str,
    in_tag: bool,
    after_dot: bool,
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            if !self.in_tag {
                let at = self.rest.find('{')?;
                let tag = self.rest.get(at..)?;
                self.rest = match tag.as_bytes().get(1)? {
                    b'#' => tag.split_once("#}").map_or("", |(_, rest)| rest),
                    b'{' | b'%' => {
                        self.in_tag = true;
                        tag.get(2..)?
                    }
                    _ => tag.get(1..)?,
                };
                continue;
            }
            let begins = |character: char| character.is_alphabetic() || character == '_';
            let first = self.rest.chars().next()?;
            let length = match first {
                '"' | '\'' => end_of_literal(self.rest, first),
                '%' | '}' if self.rest.get(1..).is_some_and(|rest| rest.starts_with('}')) => {
                    self.in_tag = false;
                    2
                }
                first if begins(first) => {
                    let is_part = |character: char| character.is_alphanumeric() || character == '_';
                    self.rest.find(|character| !is_part(character)).unwrap_or(self.rest.len())
                }
                first => first.len_utf8(),
            };
            let (token, rest) = self.rest.split_at_checked(length)?;
            self.rest = rest;
            let is_attribute = std::mem::replace(&mut self.after_dot, first == '.');
            if begins(first) && !is_attribute {
                return Some(token);
            }
        }
    }
}

/// End of the string literal that `text` starts with.
fn end_of_literal(text: &str, quote: char) -> usize {
    // Skips the opening quote like an escaped character.
    let mut escaped = true;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            character if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
