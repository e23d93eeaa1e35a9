//! The templates of `template_limits`. In tables `=>` stands before words of the error and `==>`
//! before the text; of a line without them the bounds alone are checked.

/// Chains, of which the part between `…` is repeated.
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

/// What opens and is not closed.
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

/// Blocks that are not closed.
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

/// What may take long to find the end of.
pub(super) const PIECES: &[&str] = &[
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

/// Steps from `n.x` to a deeper one.
pub(super) const DEEPER: &str = "
[n.x] => nests deeper than 128
(n.x,) => nests deeper than 128
(n.x, 1) => nests deeper than 128
{1: n.x} => nests deeper than 128
{(n.x,): 1} => nests deeper than 128
dict(a=n.x) => nests deeper than 128
dict(**{'a': n.x}) => nests deeper than 128
dict(a=n.x)|items|list => nests deeper than 128
dict(a=n.x)|dictsort => nests deeper than 128
dict(a=n.x).items() => nests deeper than 128
dict(a=n.x).values() => nests deeper than 128
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

/// Templates that go deep in other ways.
pub(super) const DEEP: &str = "
{% set n = namespace() %}{% set n.a = n %}{{ n }} => a namespace or `loop` within a value
{% set n = namespace() %}{% set n.a = [n] %}{{ n }} => a namespace or `loop` within a value
{% set n = namespace() %}{% set n.a = {'a': n} %}{{ n }} => a namespace or `loop` within a value
{% for x in [1] %}{{ [loop] }}{% endfor %} => a namespace or `loop` within a value
{% set n = namespace() %}{% for x in [1] %}{% set n.l = loop %}{% endfor %} => a namespace or `loop` within a value
{% macro m(x) %}{{ m([x]) }}{% endmacro %}{{ m(1) }} => recursion limit
{% macro m() %}{{ caller() if caller }}{% call m() %}x{% endcall %}{% endmacro %}{{ m() }} => recursion limit
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

/// Steps that make `n.x` twice as large, or larger.
pub(super) const DOUBLED: &str = "
'ab'; n.x ~ n.x => takes more than or makes more than
'ab'; n.x + n.x => takes more than or makes more than
[1]; n.x + n.x => takes more than or makes more than
(1,); n.x + n.x => takes more than or makes more than
'ab'; n.x * 2 => takes more than or makes more than
2; 'ab' * n.x
[1]; n.x * 2 => takes more than or makes more than
(1, 2); n.x * 20000 => takes more than or makes more than
'ab'; [n.x, n.x]|join => takes more than or makes more than
'ab'; n.x|join(n.x) => takes more than or makes more than
'ab'; n.x.join(n.x) => takes more than or makes more than
'ab'; n.x|replace('a', n.x) => takes more than or makes more than
'ab'; n.x.replace('', n.x) => takes more than or makes more than
'ab%s%s'; n.x|format(n.x, n.x)
'{0}{0}'; n.x.format(n.x)
'<>&'; n.x|e ~ n.x => takes more than or makes more than
'<>&'; (n.x|e|string ~ '')
'\"'; n.x|tojson => more than
'\\t'; n.x|tojson|tojson => more than
[1]; [n.x|string, n.x] => takes more than or makes more than
[1]; [n.x|pprint, n.x] => takes more than or makes more than
[1]; [n.x|tojson(indent=4), n.x] => more than
[1]; [n.x ~ n.x, n.x] => takes more than or makes more than
'a'; {n.x ~ n.x: n.x} ~ ''
{}; dict(n.x, a=n.x)
'a b'; n.x.split() + n.x.split()
'a'; n.x.title() ~ n.x|upper => takes more than or makes more than
'a\\n'; n.x|indent(200, true) ~ n.x => takes more than or makes more than
";

/// What is done again and again with a list of 100,000.
pub(super) const OVER_LISTS: &str = "
l == l + [1] => takes more than or makes more than
l < l + [2] => takes more than or makes more than
l <= l <= l[:] => takes more than or makes more than
l != l[1:] => takes more than or makes more than
2 in l => takes more than or makes more than
2 not in l => takes more than or makes more than
2 in l in [l] => takes more than or makes more than
l[1:]|length => takes more than or makes more than
l[::-1] => takes more than or makes more than
l + l => takes more than or makes more than
l * 2 => takes more than or makes more than
l ~ '' => takes more than or makes more than
l => takes more than or makes more than
[l] => takes more than or makes more than
(l,) => takes more than or makes more than
{1: l} => takes more than or makes more than
{(1, 2): l}[(1, 2)] => takes more than or makes more than
{}[l] => takes more than or makes more than
{}.get(l) => takes more than or makes more than
dict(a=l) => takes more than or makes more than
dict(*l) => line 1
namespace(a=l) => takes more than or makes more than
range(100000) => takes more than or makes more than
loop.changed(l) => takes more than or makes more than
loop.cycle(l) => takes more than or makes more than
l|string => takes more than or makes more than
l|pprint => more than
l|tojson => more than
l|tojson(indent=2) => more than
l|e => takes more than or makes more than
l|sum => takes more than or makes more than
l|list => takes more than or makes more than
l|reverse|first => takes more than or makes more than
l|first => takes more than or makes more than
l|last => takes more than or makes more than
l|length => takes more than or makes more than
l|sort => takes more than or makes more than
l|unique => takes more than or makes more than
l|min => takes more than or makes more than
l|max => takes more than or makes more than
l|join => takes more than or makes more than
l|map('int') => takes more than or makes more than
l|select('odd')|list => takes more than or makes more than
l|reject('odd')|list => takes more than or makes more than
l|select|list => takes more than or makes more than
[l, l]|map('length') => takes more than or makes more than
[l]|groupby('a')|length => takes more than or makes more than
[{'a': l}]|map(attribute='a') => takes more than or makes more than
[{'a': l}]|selectattr('a', 'eq', l) => takes more than or makes more than
[{'a': l}]|rejectattr('a', 'in', l) => takes more than or makes more than
{'a': l}|dictsort => takes more than or makes more than
{'a': l}|items => takes more than or makes more than
{'a': l}.values() => takes more than or makes more than
l|replace('a', 'b') => line 1
l|default(1) => takes more than or makes more than
l|attr('a')
'%s'|format(l) => takes more than or makes more than
'{}'.format(l) => takes more than or makes more than
','.join(l) => takes more than or makes more than
l.count(2)
l is in [l, 2] => takes more than or makes more than
l is eq(2) => takes more than or makes more than
l is lt(l) => takes more than or makes more than
l is sameas l => takes more than or makes more than
l is iterable
l is string
";

/// What is done again and again with a text of 600,000 bytes.
pub(super) const OVER_TEXTS: &str = "
t == t ~ 'a' => takes more than or makes more than
t < t => takes more than or makes more than
'z' in t => takes more than or makes more than
t => takes more than or makes more than
t[1:] => takes more than or makes more than
t[::-1] => takes more than or makes more than
t[5] => takes more than or makes more than
t + t => takes more than or makes more than
t * 2 => takes more than or makes more than
t ~ t => takes more than or makes more than
{t: 1}[t] => takes more than or makes more than
dict(a=t).get(t) => takes more than or makes more than
t|length => takes more than or makes more than
t|upper => takes more than or makes more than
t|lower => takes more than or makes more than
t|title => takes more than or makes more than
t|capitalize => takes more than or makes more than
t|trim => takes more than or makes more than
t|trim('ab ') => takes more than or makes more than
t|replace('a', 'bbbb') => takes more than or makes more than
t|replace('', t) => takes more than or makes more than
t|list|length => takes more than or makes more than
t|reverse => takes more than or makes more than
t|join(t) => takes more than or makes more than
t|split('a')|length => takes more than or makes more than
t|sort|length => takes more than or makes more than
t|unique|list => takes more than or makes more than
t|e => takes more than or makes more than
t|tojson => takes more than or makes more than
t|tojson|tojson|tojson => more than
t|indent(100) => takes more than or makes more than
t|string => takes more than or makes more than
t|pprint => takes more than or makes more than
t|first => takes more than or makes more than
t|last => takes more than or makes more than
t|min => takes more than or makes more than
t|max => takes more than or makes more than
t|safe => takes more than or makes more than
t|bool
t|default(t) => takes more than or makes more than
t|map('upper')|list => takes more than or makes more than
t|select('eq', 'a')|list => takes more than or makes more than
t|int(0) => takes more than or makes more than
t|float(0) => takes more than or makes more than
t|format(t) => takes more than or makes more than
('%s' * 1000)|format(t) => takes more than or makes more than
'%999s'|format(t) => takes more than or makes more than
t.upper() => takes more than or makes more than
t.lower() => takes more than or makes more than
t.title() => takes more than or makes more than
t.capitalize() => takes more than or makes more than
t.strip() => takes more than or makes more than
t.strip(t) => takes more than or makes more than
t.lstrip(t) => takes more than or makes more than
t.rstrip(t) => takes more than or makes more than
t.replace('a', t) => takes more than or makes more than
t.replace('', t) => takes more than or makes more than
t.split()|length => takes more than or makes more than
t.split('a')|length => takes more than or makes more than
t.split('')|length
t.splitlines() => takes more than or makes more than
t.count('a') => takes more than or makes more than
t.find('z') => takes more than or makes more than
t.rfind('z') => takes more than or makes more than
t.startswith(t) => takes more than or makes more than
t.endswith(t) => takes more than or makes more than
t.isalpha() => takes more than or makes more than
t.isdigit() => takes more than or makes more than
t.join([t, t]) => takes more than or makes more than
t.join(t) => takes more than or makes more than
t.format(t) => takes more than or makes more than
('{0}' * 1000).format(t) => takes more than or makes more than
'{:999}'.format(t) => takes more than or makes more than
t is lower => takes more than or makes more than
t is upper => takes more than or makes more than
t is startingwith t => takes more than or makes more than
t is endingwith 'z' => takes more than or makes more than
t is in [t] => takes more than or makes more than
t is iterable => takes more than or makes more than
strftime_now(t) => takes more than or makes more than
strftime_now('%B' * 100000) => takes more than or makes more than
";

/// Single values and statements that would take too much.
pub(super) const LARGE: &str = "
{{ ([1]*100000000)|sum }} => takes more than or makes more than
{{ ('a' * 100000000)|length }}
{{ ('ab' * 50000000)|upper }} => takes more than or makes more than
{{ ('ab' * 5000000)|list|length }} => takes more than or makes more than
{{ ('ab' * 5000000).split('')|length }} => takes more than or makes more than
{{ ('\\n' * 5000000).splitlines()|length }} => takes more than or makes more than
{{ ('\\n' * 5000000)|indent(256, true, true) }} => takes more than or makes more than
{{ '%9999d'|format(1) }} => three digits
{{ range(10 ** 9)|list }} => range
{{ ([[[1]]] * 300000)|tojson(indent=32) }} => more than
{{ (['a' * 10000] * 10000)|sum(start='') }} => a sum that starts with string
{{ ([[1, 2]] * 10000)|sum(start=[]) }} => a sum that starts with sequence
{{ (['a'] * 10000)|sum('x', 'y') }} => a sum that starts with string
{{ ['a' * 9000000] * 9000000 }} => takes more than or makes more than
{% for i in range(100000) %}{% for i in range(100000) %}{% endfor %}{% endfor %} => too many steps
{% for i in range(99999) if 0 %}{% endfor %}{% for i in range(100000) %}{% for i in range(99999) if 0 %}{% endfor %}{% endfor %} => too many steps
{% macro m() %}{% endmacro %}{% for i in range(100000) %}{% for i in range(100000) %}{{ m() }}{% endfor %}{% endfor %} => too many steps
{% for i in range(100000) %}{% for i in range(100000) %}{% macro m() %}{{ i }}{% endmacro %}{% endfor %}{% endfor %} => too many steps
{% for x in range(100000) recursive %}{{ loop(range(100000)) }}{% endfor %} => line 1
{% set l = [1] * 100000 %}{% for i in range(100000) %}{% set a, b = l %}{% endfor %} => line 1
{% set l = 'ab' * 1000000 %}{% for i in range(100000) %}{% for x in l %}{% break %}{% endfor %}{% endfor %} => takes more than or makes more than
{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = y %}{% endfor %} => takes more than or makes more than
{% set n = namespace(x='ab') %}{% for i in range(64) %}{% set y %}{% filter replace('a', 'aa') %}{{ n.x }}{% endfilter %}{% endset %}{% set n.x = y %}{% endfor %} => takes more than or makes more than
{% set n = namespace(x='ab') %}{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{% for i in range(64) %}{% set n.x = m(n.x) %}{% endfor %} => takes more than or makes more than
{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{{ m(x ~ x, n - 1) }}{% endif %}{{ x }}{% endmacro %}{{ m('ab', 16) }}
{% set x = 'ab' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %} => bytes of output
{% set x = [['ab'] * 1000] * 1000 %}{{ x }}{{ x }}{{ x }}{{ x }}
{% autoescape true %}{% for i in range(1000) %}{{ '<' * 1000000 }}{% endfor %}{% endautoescape %} => bytes of output
{% for i in range(100000) %}{% set n = namespace(a='ab' * 1000) %}{% endfor %}
{% for i in range(100000) %}{% set x = range(100000)|list %}{% endfor %} => takes more than or makes more than
{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = n.l + ['ab' * 1000 ~ i] %}{% endfor %} => takes more than or makes more than
{% set m = dict(a=1) %}{% for i in range(100000) %}{% for k, v in ({'a': [1] * 10000}).items() %}{% endfor %}{% endfor %} => takes more than or makes more than
{% for i in range(99999) %}{{ messages == messages }}{{ messages|tojson }}{{ tools ~ messages }}{% endfor %} => more than
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

/// Slices of X with N.
pub(super) const SLICES: &str = "{% set x = X %}{{ x[::N] }}{{ x[:N:] }}{{ x[N::] }}{{ x[N:N:N] }}\
    {{ x[1:3:N] }}{{ x[3:1:N] }}{{ x[N::-1] }}{{ x[:N:-1] }}{{ x[-1:N:N] }}";

/// What is calculated with N.
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

/// Slices as Python has them, and numbers that have no result.
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

/// What must not change.
pub(super) const RIGHT: &str = "
{{ 1 + 2 }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 1.5 + 1 }} ==> 3 ab [1, 2] (1, 2) 2.5
{{ [1] * 3 }} {{ 'ab' * 2 }} {{ 2 * 3 }} {{ 2 * 'ab' }} ==> [1, 1, 1] abab 6 abab
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 in [1] }} {{ 2 not in [1] }} ==> True False True True
{{ 'a' in 'ab' }} {{ 'a' in {'a': 1} }} {{ [1] == [1] }} {{ 1 != 2 }} {{ 1 in [1] in [[1]] }} ==> True True True True True
{{ 1 ~ 'a' ~ none ~ [1, 'x'] ~ true }} ==> 1aNone[1, 'x']True
{% set m = {'a': 1, 2: {'b': [3]}} %}{{ m.a }}{{ m['a'] }}{{ m[2].b[0] }}{{ m[2]['b'][-1] }}{{ {} }} ==> 1133{}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ loop.last }};{% endfor %} ==> 1a1False;2b2True;
{% for v in [1, 1, 2] %}{{ loop.changed(v) }}{{ loop.cycle('x', 'y') }};{% endfor %} ==> Truex;Falsey;Truex;
{% for x in range(6) if x % 2 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %} ==> 133353
{% for x in [] %}x{% else %}none{% endfor %} ==> none
{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %} ==> (1(2))(3)
{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x > 3 %}{% break %}{% endif %}{{ x }}{% endfor %} ==> 023
{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(*[1, 2], **{'c': 4}) }} ==> 12z 123 124
{% macro m(a) %}{{ a }}{{ caller() if caller }}{% endmacro %}{{ m(1) }} {% call m(5) %}in{% endcall %} ==> 1 5in
{% set n = namespace(a=1) %}{% for i in [1, 2] %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }} ==> 4
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}{% endset %}{{ c }}{% set (d, e) = [3, 4] %}{{ d }}{{ e }} ==> 12x134
{% set f|upper %}y{% endset %}{{ f }}{% filter upper %}z{% endfilter %} ==> YZ
{{ 'a' if 1 else 'b' }}{{ 'a' if 0 }}{{ 0 or 'x' }}{{ 1 and 'y' }}{{ not 1 }} ==> axyFalse
{% for g in [{'a': 1, 'b': 2}, {'a': 1, 'b': 3}]|groupby('a') %}{{ g.grouper }}{{ g.list|map(attribute='b')|join }}{% endfor %} ==> 123
{{ [3, 1, 2]|sort|join(',') }} {{ [1, 2, 3]|sum }} {{ {'b': 1, 'a': 2}|dictsort }} ==> 1,2,3 6 [('a', 2), ('b', 1)]
{% generation %}a{% endgeneration %}{% raw %}{{ b }}{% endraw %} ==> a{{ b }}
";
