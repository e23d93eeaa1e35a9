//! Hostile templates: each ends within a bound of time and of memory, by a text or by an error
//! that says which file, field and line.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use tablm::text::{ChatTemplate, CivilTime, RenderOptions};

/// What any template may take.
const MAX_TIME: Duration = Duration::from_secs(2);
const MAX_MEMORY: isize = 256 << 20;

/// Counts what each thread has allocated, now and at most.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let now = NOW.get() + change;
    NOW.set(now);
    MOST.set(MOST.get().max(now));
}

#[allow(unsafe_code, reason = "an allocator is unsafe; this one hands every call on")]
// SAFETY: each call goes on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may be there at the same time.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Compiles and renders `source` on a stack of 1 MiB, checks the bounds, and gives the result.
fn bounded(name: &str, source: &str) -> Result<String, String> {
    let (name, source) = (name.to_owned(), source.to_owned());
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    let work = move || {
        let messages = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a".repeat(4000)},
            {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}
        ]);
        let tools =
            json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}]);
        let options = RenderOptions {
            tools: Some(&tools),
            add_generation_prompt: true,
            extra: None,
            now: Some(CivilTime::from_unix(1_700_000_000)),
        };
        MOST.set(NOW.get());
        let (before, start) = (NOW.get(), Instant::now());
        let result = ChatTemplate::new("t.jinja", &source, "<s>", "</s>")
            .and_then(|template| template.render(&messages, &options));
        (start.elapsed(), MOST.get() - before, result)
    };
    let (time, memory, result) = thread.spawn(work).expect("a thread").join().expect(&name);
    if std::env::var_os("SHOW").is_some() {
        println!(
            "{name}: {time:?}, {} KiB, {:?}",
            memory >> 10,
            result.as_ref().map(String::len).map_err(|e| e.message().to_owned())
        );
    }
    assert!(time < MAX_TIME, "{name}: {time:?}");
    assert!(memory < MAX_MEMORY, "{name}: {} MiB", memory >> 20);
    result.map_err(|error| {
        assert!(matches!(error.code().as_str(), "malformed" | "invalid-request"), "{name}: {error}");
        assert!(error.message().len() < 4000, "{name}: a message of {} bytes", error.message().len());
        error.message().to_owned()
    })
}

/// What happens: a text, or an error with these words.
enum Outcome {
    Text(&'static str),
    Refused(&'static str),
    /// Either: what counts are the bounds.
    Any,
}
use Outcome::{Any, Refused, Text};

fn check(cases: Vec<(&str, String, Outcome)>) {
    let mut wrong = Vec::new();
    for (name, source, outcome) in cases {
        let result = bounded(name, &source);
        let holds = match (outcome, &result) {
            (Any, _) => true,
            (Text(expected), Ok(found)) => found == expected,
            (Refused(expected), Err(found)) => {
                found.starts_with("t.jinja: chat_template: line ") && found.contains(expected)
            }
            _ => false,
        };
        if !holds {
            let found: String = format!("{result:?}").chars().take(200).collect();
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `before`, `middle` so many times, `after`.
fn chain(before: &str, middle: &str, count: usize, after: &str) -> String {
    format!("{before}{}{after}", middle.repeat(count))
}

#[test]
fn chains_and_nesting_are_refused_before_they_compile() {
    let chains = [
        ("minus", "{{ ", "-", "1 }}"),
        ("concat", "{{ 1", "~1", " }}"),
        ("plus", "{{ 1", "+1", " }}"),
        ("power", "{{ 1", "**1", " }}"),
        ("times", "{{ 1", "*1", " }}"),
        ("and", "{{ 1", " and 1", " }}"),
        ("or", "{{ 1", " or 1", " }}"),
        ("not", "{{ ", "not ", "1 }}"),
        ("filters", "{{ 1", "|e", " }}"),
        ("filters with arguments", "{{ 1", "|default(1)", " }}"),
        ("tests", "{{ 1", " is defined", " }}"),
        ("negated tests", "{{ 1", " is not defined", " }}"),
        ("attributes", "{{ a", ".b", " }}"),
        ("numbers of items", "{{ a", ".1", " }}"),
        ("calls", "{{ a", "()", " }}"),
        ("methods", "{{ a", ".b()", " }}"),
        ("items", "{{ a", "[0]", " }}"),
        ("slices", "{{ a", "[:1]", " }}"),
        ("if", "{{ 1", " if 1", " }}"),
        ("if and else", "{{ 1", " if 1 else 1", " }}"),
        ("if in a filter of a loop", "{% for x in y if 1", " if 1 else 1", " %}{% endfor %}"),
        ("texts", "{{ 'a'", " 'a'", " }}"),
        ("dotted filters", "{{ 1|a", ".a", " }}"),
        ("filter blocks", "{% filter e", "|e", " %}{% endfilter %}"),
        ("filtered set blocks", "{% set x|e", "|e", " %}{% endset %}"),
        ("assigned attributes", "{% set a", ".b", " = 1 %}"),
        ("splats", "{{ f(*a", ", *a", ") }}"),
    ];
    for (name, before, middle, after) in chains {
        for count in [400, 10_000] {
            let allowed = matches!(name, "splats");
            check(vec![(
                name,
                chain(before, middle, count, after),
                if allowed { Any } else { Refused("expected") },
            )]);
        }
        // Shorter ones are only what they are.
        check(vec![(name, chain(before, middle, 60, after), Any)]);
    }
    let open = [
        "(", "[", "{1:", "a[", "f(", "f(x=", "a[:", "-(", "not (", "1 if (", "1|f(", "x is f(", "(1,",
        "[[], ",
    ];
    for middle in open {
        for count in [33, 400, 10_000] {
            check(vec![(middle, chain("{{ ", middle, count, ""), Refused("line 1"))]);
        }
    }
    check(vec![
        ("targets", chain("{% set ", "(", 10_000, ""), Refused("brackets nest deeper than 32")),
        ("targets of a loop", chain("{% for ", "(", 10_000, "a"), Refused("brackets nest deeper than 32")),
        ("tags", chain("", "{% if 1 %}", 10_000, ""), Refused("blocks nest deeper than 32")),
        ("loops", chain("", "{% for x in y %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("set blocks", chain("", "{% set x %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("set blocks with a filter", chain("", "{% set x|f(a=1) %}", 33, ""), Refused("blocks nest deeper")),
        ("filter blocks", chain("", "{% filter e %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("with", chain("", "{% with a = 1 %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("macros", chain("", "{% macro m() %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("calls", chain("", "{% call m() %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("autoescape", chain("", "{% autoescape 1 %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("generation", chain("", "{% generation %}", 33, ""), Refused("blocks nest deeper than 32")),
        ("elif", chain("{% if 0 %}", "{% elif 0 %}", 10_000, "{% endif %}"), Refused("more than 128")),
        ("elif on lines", chain("\n{% if 0 %}", "\n{% elif 0 %}", 200, "{% endif %}"), Refused("line 130")),
        ("tokens", chain("", "{{1}}", 200_000, ""), Refused("more than 65536 tokens")),
        ("a list", chain("{{ [", "1,", 100_000, "] }}"), Refused("more than 65536 tokens")),
        ("assignments", chain("", "{% set a = 1 %}", 8_000, "1"), Text("1")),
        (
            "many macros",
            chain("", "{% macro m(a,b=2) %}{{ a }}{% endmacro %}", 2_800, "{{ m(1) }}"),
            Text("1"),
        ),
        ("a long literal", chain("{{ [", "1,", 20_000, "]|length }}"), Text("20000")),
        ("a long mapping", chain("{{ {", "1:1,", 12_000, "}|length }}"), Text("1")),
        ("comparisons", chain("{{ 1", "<1", 100, " }}"), Text("False")),
        ("arguments", chain("{{ dict(", "1,", 2_500, ") }}"), Refused("Too many arguments")),
    ]);
}

#[test]
fn sources_take_linear_time_to_read() {
    let sources = [
        "{%",
        "{{",
        "{#",
        "{% raw %}",
        "{{'",
        "{%-",
        " ",
        "\n",
        "{",
        "{{ 1 }}\n",
        "{% if 1 %}",
        "{% raw %}{%",
        "{##}",
        "{% generation %}",
        "{% set x %}",
        "{{ \"\\",
        "{{ 1e",
        "{{ 0x",
        "{{ 1_",
        "é",
        "{{-",
        "}}",
        "%}",
        "{% endraw %}",
        "   {% if x %}\n",
        "{{ a.",
        "{{ '\\u",
        "\r",
        "{% raw %}{% raw %}",
        "{{ 'a' ",
    ];
    for source in sources {
        check(vec![(source, source.repeat((1 << 20) / source.len()), Any)]);
    }
    check(vec![
        ("lines", chain("", "\n", 70_000, "{{ 1 is divisibleby 0 }}"), Refused("line 65535: ")),
        ("a long name", format!("{{{{ {}() }}}}", "a".repeat(1 << 19)), Refused("is unknown")),
        ("a long filter", format!("{{{{ 1|{} }}}}", "a".repeat(1 << 19)), Refused("is unknown")),
        ("a long message", "{{ raise_exception('a' * 1000000) }}".to_owned(), Any),
    ]);
}

/// A list that holds lists so deep, made in steps that each nest less.
fn nested(depth: usize) -> String {
    let step = format!("{}x{}", "[".repeat(25), "]".repeat(25));
    format!(
        "{{% set n = namespace(x=[]) %}}{{% for i in range({depth}) %}}{{% set x = n.x %}}\
             {{% set n.x = {step} %}}{{% endfor %}}{{% set x = n.x %}}"
    )
}

/// A list that holds itself twice, `depth` times over.
fn doubled(depth: usize) -> String {
    format!(
        "{{% set n = namespace(x=[1]) %}}{{% for i in range({depth}) %}}\
             {{% set n.x = [n.x, n.x] %}}{{% endfor %}}{{% set x = n.x %}}"
    )
}

#[test]
fn values_are_bounded_in_depth() {
    const DEEP: Outcome = Refused("nests deeper than 128");
    let grow = |start: &str, step: &str| {
        format!(
            "{{% set n = namespace(x={start}) %}}{{% for i in range(5000) %}}{{% set n.x = {step} %}}{{% endfor %}}"
        )
    };
    check(vec![
        ("written", nested(800) + "{{ x }}", DEEP),
        ("compared", nested(800) + "{{ x == x[0] }}", DEEP),
        ("dropped", nested(800), DEEP),
        ("lists", grow("1", "[n.x]"), DEEP),
        ("tuples", grow("1", "(n.x,)"), DEEP),
        ("pairs", grow("1", "(n.x, 1)"), DEEP),
        ("mappings", grow("1", "{1: n.x}"), DEEP),
        ("keys", grow("1", "{(n.x,): 1}"), DEEP),
        ("dict", grow("1", "dict(a=n.x)"), DEEP),
        ("items", grow("1", "dict(a=n.x)|items|list"), DEEP),
        ("dictsort", grow("1", "dict(a=n.x)|dictsort"), DEEP),
        ("methods", grow("1", "dict(a=n.x).items()"), DEEP),
        ("groupby", grow("[{'a': 1}]", "[{'a': n.x|groupby('a')}]"), Refused("more than")),
        ("splat", grow("1", "[*n.x]"), Refused("line 1")),
        ("namespaces", grow("1", "namespace(x=n.x)"), Refused("a namespace or `loop` within a value")),
        (
            "a namespace in itself",
            "{% set n = namespace() %}{% set n.a = n %}{{ n }}".to_owned(),
            Refused("a namespace"),
        ),
        (
            "a namespace in a list",
            "{% set n = namespace() %}{% set n.a = [n] %}{{ n }}".to_owned(),
            Refused("a namespace"),
        ),
        ("a loop in a list", "{% for x in [1] %}{{ [loop] }}{% endfor %}".to_owned(), Refused("`loop`")),
        (
            "a loop in a namespace",
            "{% set n = namespace() %}{% for x in [1] %}{% set n.l = loop %}{% endfor %}".to_owned(),
            Refused("`loop`"),
        ),
        ("slices", grow("[1, 2]", "n.x[:]"), Any),
        ("reversed", grow("[1, 2]", "n.x|reverse"), Any),
        ("sums", grow("[1, 2]", "n.x + []"), Any),
        ("mapped", grow("[1, 2]", "n.x|map('int')"), Any),
        ("repeated", grow("[1, 2]", "n.x * 1"), Any),
        (
            "macros",
            "{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }}".to_owned(),
            Refused("recursion limit"),
        ),
        (
            "callers",
            "{% macro m() %}{{ caller() if caller }}{% call m() %}x{% endcall %}{% endmacro %}{{ m() }}"
                .to_owned(),
            Refused("recursion limit"),
        ),
        (
            "loops",
            "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}".to_owned(),
            Refused("recursion limit"),
        ),
        (
            "maps of maps",
            format!("{{{{ ['a']|map({}'upper') }}}}", "'map',".repeat(1500)),
            Refused("filters call filters"),
        ),
        ("one within the bound", nested(5) + "{{ x|string|length }}", Text("252")),
    ]);
}

#[test]
fn steps_are_bounded() {
    const STEPS: Outcome = Refused("more than");
    let twice = |after: &str| doubled(60) + after;
    let list = |after: &str| {
        format!("{{% set l = [1] * 100000 %}}{{% for i in range(100000) %}}{{{{ {after} }}}}{{% endfor %}}")
    };
    let text = |after: &str| {
        format!("{{% set t = 'ab ' * 200000 %}}{{% for i in range(100000) %}}{{{{ {after} }}}}{{% endfor %}}")
    };
    let mut cases = vec![("doubled", twice("{{ x == x }}"), STEPS)];
    let over_lists = [
        "l == l + [1]",
        "l < l + [2]",
        "l != l[1:]",
        "2 in l",
        "l[1:]|length",
        "l + l",
        "l * 2",
        "l ~ ''",
        "l|string",
        "l|sum",
        "l|list",
        "l|reverse|first",
        "l|last",
        "l|first",
        "l|length",
        "l|sort",
        "l|unique",
        "l|min",
        "l|max",
        "l|join",
        "l|map('int')",
        "l|select('odd')|list",
        "l|reject('odd')|list",
        "l|select|list",
        "l is in [l, 2]",
        "l is eq(2)",
        "l|tojson",
        "l|pprint",
        "'%s'|format(l)",
        "'{}'.format(l)",
        "dict(a=l)",
        "{1: l}",
        "[l]",
        "(l,)",
        "l.count(2)",
        "','.join(l)",
        "dict(*l)",
        "[l, l]|map('length')",
        "namespace(a=l)",
        "loop.changed(l)",
        "loop.cycle(l)",
        "[l]|groupby('a')|length",
        "[{'a': l}]|map(attribute='a')",
        "[{'a': l}]|selectattr('a', 'eq', l)",
        "{(1, 2): l}[(1, 2)]",
        "{}[l]",
        "{}.get(l)",
        "l|tojson(indent=2)",
        "l|e",
        "l|replace('a', 'b')",
        "l|default(1)",
        "range(100000)",
        "l is iterable",
        "l is sameas l",
        "l is string",
        "l|attr('a')",
    ];
    cases.extend(over_lists.map(|after| (after, list(after), Any)));
    let over_texts = [
        "t == t ~ 'a'",
        "t < t",
        "'z' in t",
        "t[1:]",
        "t[::-1]",
        "t[5]",
        "t + t",
        "t * 2",
        "t ~ t",
        "t|length",
        "t|upper",
        "t|lower",
        "t|title",
        "t|capitalize",
        "t|trim",
        "t|trim('ab ')",
        "t|replace('a', 'bbbb')",
        "t|replace('', t)",
        "t|list|length",
        "t|reverse",
        "t|join(t)",
        "t|split('a')|length",
        "t|sort|length",
        "t|unique|list",
        "t|e",
        "t|tojson",
        "t|indent(100)",
        "t|string",
        "t|first",
        "t|last",
        "t|min",
        "t|max",
        "t|map('upper')|list",
        "t|select('eq', 'a')|list",
        "t|int(0)",
        "t|float(0)",
        "t.upper()",
        "t.lower()",
        "t.title()",
        "t.capitalize()",
        "t.strip()",
        "t.strip(t)",
        "t.lstrip(t)",
        "t.rstrip(t)",
        "t.replace('a', t)",
        "t.replace('', t)",
        "t.split()|length",
        "t.split('a')|length",
        "t.split('')|length",
        "t.splitlines()",
        "t.count('a')",
        "t.find('z')",
        "t.rfind('z')",
        "t.startswith(t)",
        "t.endswith(t)",
        "t.isalpha()",
        "t.isdigit()",
        "t.join([t, t])",
        "t.join(t)",
        "t.format(t)",
        "t|format(t)",
        "('{0}' * 1000).format(t)",
        "('%s' * 1000)|format(t)",
        "t is lower",
        "t is upper",
        "t is startingwith t",
        "t is endingwith 'z'",
        "t is in [t]",
        "t|tojson|tojson|tojson",
        "strftime_now(t)",
        "strftime_now('%B' * 100000)",
        "raise_exception(t)",
        "{t: 1}[t]",
        "dict(a=t).get(t)",
        "t|safe",
        "t is iterable",
        "t|bool",
        "t|default(t)",
        "'{:999}'.format(t)",
        "'%999s'|format(t)",
        "t|pprint",
    ];
    cases.extend(over_texts.map(|after| (after, text(after), Any)));
    cases.extend([
        ("compared", twice("{{ x == [x, x][0] }}"), STEPS),
        ("in", twice("{{ 2 in x }}"), STEPS),
        ("hashed", twice("{{ {x: 1} }}"), STEPS),
        ("a hundred million times", "{{ ([1]*100000000)|sum }}".to_owned(), STEPS),
        ("a text of a hundred million", "{{ ('a' * 100000000)|length }}".to_owned(), Any),
        ("nothing", "{% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %}".to_owned(), Refused("too many steps")),
        ("empty macros", "{% macro m() %}{% endmacro %}{% for i in range(100000) %}{% for i in range(100000) %}{{ m() }}{% endfor %}{% endfor %}".to_owned(), Refused("too many steps")),
        ("macros made", "{% for i in range(100000) %}{% for i in range(100000) %}{% macro m() %}{{ i }}{% endmacro %}{% endfor %}{% endfor %}".to_owned(), Refused("too many steps")),
        ("sums of texts", "{{ (['a' * 10000] * 10000)|sum(start='') }}".to_owned(), Refused("a sum that starts with string")),
        ("sums of lists", "{{ ([[1, 2]] * 10000)|sum(start=[]) }}".to_owned(), Refused("a sum that starts with sequence")),
        ("sums of texts by place", "{{ (['a'] * 10000)|sum('x', 'y') }}".to_owned(), Refused("a sum that starts with string")),
        ("unpacked", "{% set l = [1] * 100000 %}{% for i in range(100000) %}{% set a, b = l %}{% endfor %}".to_owned(), Refused("line 1")),
        ("a loop left at once", "{% set l = 'ab' * 1000000 %}{% for i in range(100000) %}{% for x in l %}{% break %}{% endfor %}{% endfor %}".to_owned(), STEPS),
    ]);
    check(cases);
}

#[test]
fn memory_is_bounded() {
    const MUCH: Outcome = Refused("more than");
    let twice = |start: &str, step: &str| {
        format!(
            "{{% set n = namespace(x={start}) %}}{{% for i in range(64) %}}{{% set n.x = {step} %}}{{% endfor %}}"
        )
    };
    let splats = format!("{{% set l = [1] * 1000000 %}}{{{{ dict({}) }}}}", "*l, ".repeat(1500));
    check(vec![
        ("concat", twice("'ab'", "n.x ~ n.x"), MUCH),
        ("plus", twice("'ab'", "n.x + n.x"), MUCH),
        ("lists", twice("[1]", "n.x + n.x"), MUCH),
        ("tuples", twice("(1,)", "n.x + n.x"), MUCH),
        ("times", twice("'ab'", "n.x * 2"), MUCH),
        ("lists times", twice("[1]", "n.x * 2"), MUCH),
        ("tuples times", twice("(1, 2)", "n.x * 20000"), MUCH),
        ("join", twice("'ab'", "[n.x, n.x]|join"), MUCH),
        ("join by a text", twice("'ab'", "n.x|join(n.x)"), MUCH),
        ("join as a method", twice("'ab'", "n.x.join(n.x)"), MUCH),
        ("replace", twice("'ab'", "n.x|replace('a', n.x)"), MUCH),
        ("replace as a method", twice("'ab'", "n.x.replace('', n.x)"), MUCH),
        ("format", twice("'ab%s%s'", "n.x|format(n.x, n.x)"), Any),
        ("format as a method", twice("'{0}{0}'", "n.x.format(n.x)"), Any),
        ("escaped", twice("'<>&'", "n.x|e"), Any),
        ("escaped and safe", twice("'<>&'", "(n.x|string ~ '')|e ~ ''"), Any),
        ("as JSON", twice("'\"'", "n.x|tojson"), MUCH),
        ("as text", twice("['a']", "[n.x|string, n.x]"), MUCH),
        ("set blocks", "{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %}".to_owned(), MUCH),
        ("filter blocks", "{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{% filter replace('a', 'aa') %}{{ n.x }}{% endfilter %}{% endset %}{% set n.x = y %}{% endfor %}".to_owned(), MUCH),
        ("macros", "{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{{ m(x ~ x, n - 1) }}{% endif %}{{ x }}{% endmacro %}{{ m('ab', 16) }}".to_owned(), Any),
        ("written", "{% set x = 'ab' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}".to_owned(), MUCH),
        ("written as it stands", format!("{{% for i in range(100000) %}}{}{{% endfor %}}", "a".repeat(1 << 19)), MUCH),
        ("more than a prompt", "{{ 'ab' * 10000000 }}".to_owned(), Any),
        ("more lists than a prompt", "{% set x = [['ab'] * 1000] * 1000 %}{{ x }}{{ x }}{{ x }}{{ x }}".to_owned(), Any),
        ("arguments", splats, MUCH),
        ("keywords", format!("{{% set d = {{'a': 1}} %}}{{{{ dict({}) }}}}", "**d, ".repeat(1500)), Any),
        ("html", "{% autoescape true %}{% for i in range(1000) %}{{ '<' * 1000000 }}{% endfor %}{% endautoescape %}".to_owned(), MUCH),
        ("many namespaces", "{% for i in range(100000) %}{% set n = namespace(a='ab' * 1000) %}{% endfor %}".to_owned(), Any),
        ("ranges", "{% for i in range(100000) %}{% set x = range(100000)|list %}{% endfor %}".to_owned(), MUCH),
        ("a wide format", "{{ '%9999d'|format(1) }}".to_owned(), Refused("three digits")),
        ("a deep indentation", nested(4) + "{{ ([x] * 20000)|tojson(indent=32) }}", MUCH),
        ("characters", "{{ ('ab' * 5000000)|list|length }}".to_owned(), MUCH),
        ("split by nothing", "{{ ('ab' * 5000000).split('')|length }}".to_owned(), MUCH),
        ("lines", "{{ ('\\n' * 5000000).splitlines()|length }}".to_owned(), MUCH),
        ("lines indented", "{{ ('\\n' * 5000000)|indent(256, true, true) }}".to_owned(), MUCH),
    ]);
}

#[test]
fn no_number_breaks_a_slice_or_a_division() {
    let numbers = [
        "4294967296",
        "4294967297",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "170141183460469231731687303715884105727",
        "1",
    ];
    for number in numbers {
        for sign in ["", "-"] {
            let n = format!("{sign}{number}");
            let mut slices = Vec::new();
            for (start, stop, step) in [
                ("", "", &*n),
                ("", &*n, ""),
                (&*n, "", ""),
                (&*n, &*n, &*n),
                ("1", "3", &*n),
                ("3", "1", &*n),
                (&*n, "", "-1"),
                ("", &*n, "-1"),
            ] {
                slices.push(format!("{{{{ x[{start}:{stop}:{step}] }}}}"));
            }
            for kind in ["'abcde'", "[1,2,3]", "(1,2,3)", "range(5)", "none", "undefined_name", "'é東'"] {
                let source = format!("{{% set x = {kind} %}}{}", slices.concat());
                let result = bounded(&source, &source);
                assert!(result.is_ok(), "{source}: {result:?}");
            }
            let sums = format!("{{{{ x is divisibleby({n}) }}}}{{{{ range({n}) }}}}");
            let _ = bounded(&sums, &format!("{{% set x = {n} %}}{sums}"));
            for operator in ["+", "-", "*", "/", "//", "%", "**"] {
                let source = format!(
                    "{{{{ ({n}) {operator} ({n}) }}}}{{{{ (0) {operator} ({n}) }}}}{{{{ ({n}) {operator} 0 }}}}"
                );
                let _ = bounded(&source, &source);
            }
            for call in [
                "x|round({n})",
                "x|abs",
                "x|int",
                "1.5|round({n})",
                "'a' * x",
                "[1] * x",
                "x[x]",
                "'abc'[x]",
                "[1][x]",
                "range(0, 5, {n})",
                "range({n}, 5, -1)",
                "'a b c'.split(' ', {n})",
                "'aaa'.replace('a', 'b', {n})",
                "x is odd",
                "x|string|int(0, x)",
                "'a'|indent(x)",
                "x|tojson(indent=x)",
                "'%d'|format(x)",
                "'{:d}'.format(x)",
                "'%c'|format(x)",
            ] {
                let source = format!("{{% set x = {n} %}}{{{{ {} }}}}", call.replace("{n}", &n));
                let _ = bounded(&source, &source);
            }
        }
    }
    check(vec![
        ("a step past the end", "{{ 'abc'[::4294967296] }}{{ [1, 2][::4294967296] }}".to_owned(), Text("a[1]")),
        ("as Python", "{{ 'abcde'[1:5:2] }} {{ 'abcde'[::-2] }} {{ 'abcde'[3:0:-1] }} {{ [1,2,3][-2:] }} {{ (1,2,3)[:1] }} {{ 'abcde'[-100:100] }}".to_owned(), Text("bd eca dcb [2, 3] (1,) abcde")),
        ("backwards from the front", "{{ 'abc'[0:2:-1] }}|{{ [1,2,3][1:2:-1] }}".to_owned(), Text("|[]")),
        ("by nothing", "{{ 'abc'[::0] }}".to_owned(), Refused("a step of 0")),
        ("divided by nothing", "{{ 1 is divisibleby 0 }}".to_owned(), Refused("a division by 0")),
        ("a cycle of nothing", "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}".to_owned(), Refused("expected one or more")),
        ("a cycle of nothing in a list", "{% for i in [1] %}{{ loop.cycle(*[]) }}{% endfor %}".to_owned(), Refused("line 1")),
    ]);
}

#[test]
fn operators_still_do_what_they_do() {
    check(vec![
        ("sums", "{{ 1 + 2 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 1.5 + 1 }} {{ [1] * 3 }} {{ 'ab' * 2 }} {{ 2 * 3 }}".to_owned(), Text("3 ab [1, 2] (1, 2) 2.5 [1, 1, 1] abab 6")),
        ("comparisons", "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 in [1] }} {{ 2 not in [1] }} {{ 'a' in 'ab' }} {{ 'a' in {'a': 1} }} {{ [1] == [1] }} {{ 1 != 2 }} {{ 1 in [1] in [[1]] }}".to_owned(), Text("True False True True True True True True True")),
        ("texts", "{{ 1 ~ 'a' ~ none ~ [1, 'x'] ~ true }}".to_owned(), Text("1aNone[1, 'x']True")),
        ("mappings", "{% set m = {'a': 1, 2: {'b': [3]}} %}{{ m.a }}{{ m['a'] }}{{ m[2].b[0] }}{{ m[2]['b'][-1] }}{{ m.z is defined }}{{ {} }}".to_owned(), Text("1133False{}")),
        ("loops", "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ loop.last }}{{ loop.changed(v) }}{{ loop.cycle('x', 'y') }};{% else %}none{% endfor %}".to_owned(), Text("1a1FalseTruex;2b2TrueTruey;")),
        ("filtered loops", "{% for x in range(6) if x % 2 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %}{% for x in [] %}x{% else %}none{% endfor %}".to_owned(), Text("133353none")),
        ("recursive loops", "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}".to_owned(), Text("(1(2))(3)")),
        ("break and continue", "{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x > 3 %}{% break %}{% endif %}{{ x }}{% endfor %}".to_owned(), Text("023")),
        ("macros", "{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{{ caller() if caller }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(*[1, 2], **{'c': 4}) }} {% call m(5) %}in{% endcall %}".to_owned(), Text("12z 123 124 52zin")),
        ("namespaces", "{% set n = namespace(a=1) %}{% for i in [1, 2] %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }}".to_owned(), Text("4")),
        ("set", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}{% endset %}{{ c }}{% set (d, e) = [3, 4] %}{{ d }}{{ e }}{% set f|upper %}y{% endset %}{{ f }}".to_owned(), Text("12x134Y")),
        ("conditions", "{{ 'a' if 1 else 'b' }}{{ 'a' if 0 }}{{ 0 or 'x' }}{{ 1 and 'y' }}{{ not 1 }}".to_owned(), Text("axyFalse")),
    ]);
}
