//! Templates for `template_limits`. In the tables, `=>` precedes words of the expected error and
//! `==>` the expected text; for a line without either, only time and memory are checked.

/// Chains of operators; the part between the `…` is repeated.
pub(super) const CHAINS: &str = "
{{ …-…1 }}
{{ 1…~1… }}
{{ 1…+1… }}
{{ 1…**1… }}
{{ 1…*1… }}
{{ 1…%1… }}
{{ 1… and 1… }}
{{ 1… or 1… }}
{{ …not …1 }}
{{ 1…|e… }}
{{ 1…|default(1)… }}
{{ 1… is defined… }}
{{ 1… is not defined… }}
{{ 1… is eq 1… }}
{{ a….b… }}
{{ a….1… }}
{{ a…()… }}
{{ a….b()… }}
{{ a…[0]… }}
{{ a…[:1]… }}
{{ 1… if 1… }}
{{ 1… if 1 else 1… }}
{{ [1… if 1 else 1…] }}
{{ 'a'… 'a'… }}
{{ 1|a….a… }}
{% for x in y if 1… if 1 else 1… %}{% endfor %}
{% filter e…|e… %}{% endfilter %}
{% set x|e…|e… %}{% endset %}
{% set a….b… = 1 %}
";

/// Unclosed brackets and tags.
pub(super) const OPENING: &str = "
{{ …(…
{{ …[…
{{ …{1:…
{{ …a[…
{{ …f(…
{{ …f(x=…
{{ …a[:…
{{ …-(…
{{ …not (…
{{ …1 if (…
{{ …1|f(…
{{ …x is f(…
{{ …(1,…
{{ …[[], …
{% set …(…
{% for …(…
{% if …(…
{% macro m(…(…
";

/// Unclosed blocks.
pub(super) const BLOCKS: &str = "
{% if 1 %}
{% for x in y %}
{% set x %}
{% set x|f(a=1) %}
{% filter e %}
{% with a = 1 %}
{% macro m() %}
{% call m() %}
{% autoescape 1 %}
{% block x %}
{% generation %}
{%- if 1 -%}
";

/// Fragments that take long to read if each repetition searches the rest of the source.
pub(super) const FRAGMENTS: &[&str] = &[
    "{%",
    "{{",
    "{#",
    "{{'",
    "{%-",
    " ",
    "\n",
    "{",
    "{{ 1 }}\n",
    "{% if 1 %}",
    "{% raw %}",
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
    "{{ 'a' ",
    "{% endgeneration",
    "{%+",
];

/// Expressions that nest `n.x` deeper.
pub(super) const DEEPER: &str = "
[n.x] => nested deeper than 128
(n.x,) => nested deeper than 128
(n.x, 1) => nested deeper than 128
{1: n.x} => nested deeper than 128
{(n.x,): 1} => nested deeper than 128
dict(a=n.x) => nested deeper than 128
dict(**{'a': n.x}) => nested deeper than 128
dict(a=n.x)|items|list => nested deeper than 128
dict(a=n.x)|dictsort => nested deeper than 128
dict(a=n.x).items() => nested deeper than 128
dict(a=n.x).values() => nested deeper than 128
[{'a': n.x}]|groupby('a') => line 1
namespace(x=n.x) => a namespace or `loop` within a value
[1, 2]; n.x[:]
[1, 2]; n.x[::-1]
[1, 2]; n.x|reverse
[1, 2]; n.x + []
[1, 2]; n.x * 1
[1, 2]; n.x|map('int')
[1, 2]; n.x|select
[1, 2]; n.x|sort
[1, 2]; n.x|unique
(1, 2); n.x + ()
'a'; n.x|list|join
";

/// Templates whose values contain themselves, or whose calls do not end.
pub(super) const DEEP: &str = "
{% set n = namespace() %}{% set n.a = n %}{{ n }} => a namespace or `loop` within a value
{% set n = namespace() %}{% set n.a = [n] %}{{ n }} => a namespace or `loop` within a value
{% set n = namespace() %}{% set n.a = {'a': n} %}{{ n }} => a namespace or `loop` within a value
{% for x in [1] %}{{ [loop] }}{% endfor %} => a namespace or `loop` within a value
{% set n = namespace() %}{% for x in [1] %}{% set n.l = loop %}{% endfor %} => a namespace or \
    `loop` within a value
{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }} => recursion limit
{% macro m() %}{{ caller() if caller }}{% call m() %}x{% endcall %}{% endmacro %}{{ m() }} => \
    recursion limit
{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %} => recursion limit
{% for x in [[1]] recursive %}{% set y = loop([x]) %}{% endfor %} => recursion limit
{% block a %}{{ self.a() }}{% endblock %} => another template
{% include 'chat' %} => another template
{% extends 'chat' %} => another template
{% import 'chat' as c %} => another template
{% from 'chat' import c %} => another template
{{ super() }} => another template
{{ self.a() }} => another template
";

/// Expressions that at least double `n.x`.
pub(super) const DOUBLED: &str = "
'ab'; n.x ~ n.x => more than
'ab'; n.x + n.x => more than
[1]; n.x + n.x => more than
(1,); n.x + n.x => more than
'ab'; n.x * 2 => more than
2; 'ab' * n.x
[1]; n.x * 2 => more than
(1, 2); n.x * 20000 => more than
'ab'; [n.x, n.x]|join => more than
'ab'; n.x|join(n.x) => more than
'ab'; n.x.join(n.x) => more than
'ab'; n.x|replace('a', n.x) => more than
'ab'; n.x.replace('', n.x) => more than
'ab%s%s'; n.x|format(n.x, n.x)
'{0}{0}'; n.x.format(n.x)
'<>&'; n.x|e ~ n.x => more than
'<>&'; (n.x|e|string ~ '')
'\"'; n.x|tojson => more than
'\\t'; n.x|tojson|tojson => more than
[1]; [n.x|string, n.x] => more than
[1]; [n.x|pprint, n.x] => more than
[1]; [n.x|tojson(indent=4), n.x] => more than
[1]; [n.x ~ n.x, n.x] => more than
'a'; {n.x ~ n.x: n.x} ~ ''
{}; dict(n.x, a=n.x)
'a b'; n.x.split() + n.x.split()
'a'; n.x.title() ~ n.x|upper => more than
'a\\n'; n.x|indent(200, true) ~ n.x => more than
";

/// Operations repeated on a list of 100,000 items.
pub(super) const OVER_LISTS: &str = "
l == l + [1] => more than
l < l + [2] => more than
l <= l <= l[:] => more than
l != l[1:] => more than
2 in l => more than
2 not in l => more than
2 in l in [l] => more than
l[1:]|length => more than
l[::-1] => more than
l + l => more than
l * 2 => more than
l ~ '' => more than
l => more than
[l] => more than
(l,) => more than
{1: l} => more than
{(1, 2): l}[(1, 2)] => more than
{}[l] => more than
{}.get(l) => more than
dict(a=l) => more than
dict(*l) => line 1
namespace(a=l) => more than
range(100000) => more than
loop.changed(l) => more than
loop.cycle(l) => more than
l|string => more than
l|pprint => more than
l|tojson => more than
l|tojson(indent=2) => more than
l|e => more than
l|sum => more than
l|list => more than
l|reverse|first => more than
l|first => more than
l|last => more than
l|length => more than
l|sort => more than
l|unique => more than
l|min => more than
l|max => more than
l|join => more than
l|map('int') => more than
l|select('odd')|list => more than
l|reject('odd')|list => more than
l|select|list => more than
[l, l]|map('length') => more than
[l]|groupby('a')|length => more than
[{'a': l}]|map(attribute='a') => more than
[{'a': l}]|selectattr('a', 'eq', l) => more than
[{'a': l}]|rejectattr('a', 'in', l) => more than
{'a': l}|dictsort => more than
{'a': l}|items => more than
{'a': l}.values() => more than
l|replace('a', 'b') => line 1
l|default(1) => more than
l|attr('a')
'%s'|format(l) => more than
'{}'.format(l) => more than
','.join(l) => more than
l.count(2)
l is in [l, 2] => more than
l is eq(2) => more than
l is lt(l) => more than
l is sameas l => more than
l is iterable
l is string
";

/// Operations repeated on a string of 600,000 bytes.
pub(super) const OVER_TEXTS: &str = "
t == t ~ 'a' => more than
t < t => more than
'z' in t => more than
t => more than
t[1:] => more than
t[::-1] => more than
t[5] => more than
t + t => more than
t * 2 => more than
t ~ t => more than
{t: 1}[t] => more than
dict(a=t).get(t) => more than
t|length => more than
t|upper => more than
t|lower => more than
t|title => more than
t|capitalize => more than
t|trim => more than
t|trim('ab ') => more than
t|replace('a', 'bbbb') => more than
t|replace('', t) => more than
t|list|length => more than
t|reverse => more than
t|join(t) => more than
t|split('a')|length => more than
t|sort|length => more than
t|unique|list => more than
t|e => more than
t|tojson => more than
t|tojson|tojson|tojson => more than
t|indent(100) => more than
t|string => more than
t|pprint => more than
t|first => more than
t|last => more than
t|min => more than
t|max => more than
t|safe => more than
t|bool
t|default(t) => more than
t|map('upper')|list => more than
t|select('eq', 'a')|list => more than
t|int(0) => more than
t|float(0) => more than
t|format(t) => more than
('%s' * 1000)|format(t) => more than
'%999s'|format(t) => more than
t.upper() => more than
t.lower() => more than
t.title() => more than
t.capitalize() => more than
t.strip() => more than
t.strip(t) => more than
t.lstrip(t) => more than
t.rstrip(t) => more than
t.replace('a', t) => more than
t.replace('', t) => more than
t.split()|length => more than
t.split('a')|length => more than
t.split('')|length
t.splitlines() => more than
t.count('a') => more than
t.find('z') => more than
t.rfind('z') => more than
t.startswith(t) => more than
t.endswith(t) => more than
t.isalpha() => more than
t.isdigit() => more than
t.join([t, t]) => more than
t.join(t) => more than
t.format(t) => more than
('{0}' * 1000).format(t) => more than
'{:999}'.format(t) => more than
t is lower => more than
t is upper => more than
t is startingwith t => more than
t is endingwith 'z' => more than
t is in [t] => more than
t is iterable => more than
strftime_now(t) => more than
strftime_now('%B' * 100000) => more than
";

/// Single values and statements that exceed the budget.
pub(super) const LARGE: &str = "
{{ ([1]*100000000)|sum }} => more than
{{ ('a' * 100000000)|length }}
{{ ('ab' * 50000000)|upper }} => more than
{{ ('ab' * 5000000)|list|length }} => more than
{{ ('ab' * 5000000).split('')|length }} => more than
{{ ('\\n' * 5000000).splitlines()|length }} => more than
{{ ('\\n' * 5000000)|indent(256, true, true) }} => more than
{{ '%9999d'|format(1) }} => three digits
{{ range(10 ** 9)|list }} => range
{{ ([[[1]]] * 300000)|tojson(indent=32) }} => more than
{{ (['a' * 10000] * 10000)|sum(start='') }} => a sum that starts with string
{{ ([[1, 2]] * 10000)|sum(start=[]) }} => a sum that starts with sequence
{{ (['a'] * 10000)|sum('x', 'y') }} => a sum that starts with string
{{ ['a' * 9000000] * 9000000 }} => more than
{% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %} => too many \
    instructions
{% for i in range(99999) if 0 %}{% endfor %}{% for i in range(100000) %}{% for i in range(99999) \
    if 0 %}{% endfor %}{% endfor %} => too many instructions
{% macro m() %}{% endmacro %}{% for i in range(100000) %}{% for i in range(100000) %}{{ m() }}{% \
    endfor %}{% endfor %} => too many instructions
{% for i in range(100000) %}{% for i in range(100000) %}{% macro m() %}{{ i }}{% endmacro %}{% \
    endfor %}{% endfor %} => too many instructions
{% for x in range(100000) recursive %}{{ loop(range(100000)) }}{% endfor %} => line 1
{% set l = [1] * 100000 %}{% for i in range(100000) %}{% set a, b = l %}{% endfor %} => line 1
{% set l = 'ab' * 1000000 %}{% for i in range(100000) %}{% for x in l %}{% break %}{% endfor %}{% \
    endfor %} => more than
{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}\
    {% set n.x = y %}{% endfor %} => more than
{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{% filter replace('a', 'aa') %}\
    {{ n.x }}{% endfilter %}{% endset %}{% set n.x = y %}{% endfor %} => more than
{% set n = namespace(x='ab') %}{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% for i in range(64) \
    %}{% set n.x = m(n.x) %}{% endfor %} => more than
{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{{ m(x ~ x, n - 1) }}{% endif %}{{ x }}{% \
    endmacro %}{{ m('ab', 16) }}
{% set x = 'ab' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %} => bytes of output
{% set x = [['ab'] * 1000] * 1000 %}{{ x }}{{ x }}{{ x }}{{ x }}
{% autoescape true %}{% for i in range(1000) %}{{ '<' * 1000000 }}{% endfor %}{% endautoescape %} \
    => bytes of output
{% for i in range(100000) %}{% set n = namespace(a='ab' * 1000) %}{% endfor %}
{% for i in range(100000) %}{% set x = range(100000)|list %}{% endfor %} => more than
{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = n.l + ['ab' * 1000 ~ i] %}\
    {% endfor %} => more than
{% set m = dict(a=1) %}{% for i in range(100000) %}{% for k, v in ({'a': [1] * 10000}).items() %}\
    {% endfor %}{% endfor %} => more than
{% for i in range(99999) %}{{ messages == messages }}{{ messages|tojson }}{{ tools ~ messages }}\
    {% endfor %} => more than
";

pub(super) const NUMBERS: &[&str] = &[
    "1",
    "2147483648",
    "4294967296",
    "4294967297",
    "9223372036854775807",
    "9223372036854775808",
    "170141183460469231731687303715884105727",
];

/// Slices of the value X with the number N.
pub(super) const SLICES: &str = "{% set x = X %}{{ x[::N] }}{{ x[:N:] }}{{ x[N::] }}{{ x[N:N:N] }}\
    {{ x[1:3:N] }}{{ x[3:1:N] }}{{ x[N::-1] }}{{ x[:N:-1] }}{{ x[-1:N:N] }}";

/// Calculations with N.
pub(super) const CALCULATIONS: &str = "
N + N
0 - N - N
N * N
N / N
N // N
0 // N
N // 0
N % N
N % 0
N ** N
N / 0
-N
N|abs
N|int
N|round(N)
1.5|round(N)
1.5|round(N, 'floor')
N|string|int(0, N)
'a' * N
[1] * N
'abc'[N]
[1][N]
(1,)[N]
range(N)
range(0, 5, N)
range(N, 5, -1)
N is odd
N is divisibleby(N)
N is divisibleby(-1)
'a b c'.split(' ', N)
'aaa'.replace('a', 'b', N)
'a'|indent(N)
[1]|tojson(indent=N)
'%d'|format(N)
'%c'|format(N)
'{:d}'.format(N)
'{N}'.format(1)
loop.cycle(N)
";

/// Slices with the results of Python, and calculations that must fail.
pub(super) const SLICED: &str = "
{{ 'abc'[::4294967296] }}{{ [1, 2][::4294967296] }} ==> a[1]
{{ 'abcde'[1:5:2] }} {{ 'abcde'[::-2] }} {{ 'abcde'[3:0:-1] }} ==> bd eca dcb
{{ [1,2,3][-2:] }} {{ (1,2,3)[:1] }} {{ 'abcde'[-100:100] }} ==> [2, 3] (1,) abcde
{{ 'abc'[0:2:-1] }}|{{ [1,2,3][1:2:-1] }} ==> |[]
{{ 'abc'[::0] }} => a step of 0
{{ 1 is divisibleby 0 }} => a division by 0
{% for i in [1] %}{{ loop.cycle() }}{% endfor %} => expected one or more
{% for i in [1] %}{{ loop.cycle(*[]) }}{% endfor %} => line 1
";

/// Operators whose results the accounting must not change.
pub(super) const RESULTS: &str = "
{{ 1 + 2 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 1.5 + 1 }} ==> 3 ab [1, 2] (1, \
    2) 2.5
{{ [1] * 3 }} {{ 'ab' * 2 }} {{ 2 * 3 }} {{ 2 * 'ab' }} ==> [1, 1, 1] abab 6 abab
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 in [1] }} {{ 2 not in [1] }} ==> True False True True
{{ 'a' in 'ab' }} {{ 'a' in {'a': 1} }} {{ [1] == [1] }} {{ 1 != 2 }} {{ 1 in [1] in [[1]] }} ==> \
    True True True True True
{{ 1 ~ 'a' ~ none ~ [1, 'x'] ~ true }} ==> 1aNone[1, 'x']True
{% set m = {'a': 1, 2: {'b': [3]}} %}{{ m.a }}{{ m['a'] }}{{ m[2].b[0] }}{{ m[2]['b'][-1] }}{{ {} \
    }} ==> 1133{}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ loop.last }};{% endfor \
    %} ==> 1a1False;2b2True;
{% for v in [1, 1, 2] %}{{ loop.changed(v) }}{{ loop.cycle('x', 'y') }};{% endfor %} ==> Truex;\
    Falsey;Truex;
{% for x in range(6) if x % 2 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %} ==> 133353
{% for x in [] %}x{% else %}none{% endfor %} ==> none
{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% \
    endif %}{% endfor %} ==> (1(2))(3)
{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x > 3 %}{% break %}{% endif \
    %}{{ x }}{% endfor %} ==> 023
{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ \
    m(*[1, 2], **{'c': 4}) }} ==> 12z 123 124
{% macro m(a) %}{{ a }}{{ caller() if caller }}{% endmacro %}{{ m(1) }} {% call m(5) %}in{% \
    endcall %} ==> 1 5in
{% set n = namespace(a=1) %}{% for i in [1, 2] %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }} ==> 4
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}{% endset %}{{ c }}{% set (d, e) = [3, 4] %}\
    {{ d }}{{ e }} ==> 12x134
{% set f|upper %}y{% endset %}{{ f }}{% filter upper %}z{% endfilter %} ==> YZ
{{ 'a' if 1 else 'b' }}{{ 'a' if 0 }}{{ 0 or 'x' }}{{ 1 and 'y' }}{{ not 1 }} ==> axyFalse
{% for g in [{'a': 1, 'b': 2}, {'a': 1, 'b': 3}]|groupby('a') %}{{ g.grouper }}{{ \
    g.list|map(attribute='b')|join }}{% endfor %} ==> 123
{{ [3, 1, 2]|sort|join(',') }} {{ [1, 2, 3]|sum }} {{ {'b': 1, 'a': 2}|dictsort }} ==> 1,2,3 6 \
    [('a', 2), ('b', 1)]
{% generation %}a{% endgeneration %}{% raw %}{{ b }}{% endraw %} ==> a{{ b }}
";
