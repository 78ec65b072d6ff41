//! Finds in the texts of the shaders what naga accepts, but browsers refuse or compute differently. `scripts/browser` asks
//! Chromium itself; these checks need no browser.

use spikegrad::gpu::shaders::variants;

/// Words and operators with their line numbers, without comments and without the `<...>` of types.
fn tokens(text: &str) -> Vec<(usize, &str)> {
    const OPERATORS: [&str; 20] = [
        "<<=", ">>=", "&&", "||", "<<", ">>", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "|=", "&=", "^=",
        "++", "--",
    ];
    const WITH_TYPE: [&str; 9] = ["array", "atomic", "bitcast", "mat4x4", "ptr", "var", "vec2", "vec3", "vec4"];
    let mut all: Vec<(usize, &str)> = Vec::new();
    // How many `<` of types are open.
    let mut open = 0;
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
            let operator =
                OPERATORS.iter().find(|operator| rest.starts_with(**operator)).map(|operator| operator.len());
            let length = if word > 0 { word } else { operator.unwrap_or(first.len_utf8()) };
            let (token, after) = rest.split_at(length);
            rest = after.trim_start();
            match token {
                "<" if open > 0 || all.last().is_some_and(|(_, before)| WITH_TYPE.contains(before)) => open += 1,
                ">" | ">>" if open > 0 => open -= token.len().min(open),
                _ if open > 0 => {}
                _ => all.push((number + 1, token)),
            }
        }
    }
    all
}

/// Operators in groups: WGSL restricts which groups may be mixed without parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Bitwise(u8),
    Shift,
    Arithmetic,
    Comparison,
    Logical(u8),
}

fn mixed(operators: &[Operator]) -> bool {
    use Operator::*;
    let any = |wanted: fn(&Operator) -> bool| operators.iter().any(wanted);
    let one_kind = operators.windows(2).all(|pair| pair[0] == pair[1]);
    let shifts = operators.iter().filter(|operator| **operator == Shift).count();
    any(|o| matches!(o, Bitwise(_))) && !one_kind
        || shifts > 0 && any(|o| matches!(o, Arithmetic))
        || shifts > 1 && !any(|o| matches!(o, Comparison | Logical(_)))
        || any(|o| *o == Logical(b'&')) && any(|o| *o == Logical(b'|'))
}

/// Lines where WGSL requires parentheses between operators, as in `t << 16u | x`.
fn operators_without_parentheses(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    // The operators of each open expression, innermost last.
    let mut expressions: Vec<Vec<Operator>> = vec![vec![]];
    let mut before = "";
    for (line, token) in tokens(text) {
        let ends_with = before.chars().last().unwrap_or(' ');
        let keyword = ["return", "if", "while", "switch", "case"].contains(&before);
        let after_operand = (ends_with.is_alphanumeric() || "_.)]".contains(ends_with)) && !keyword;
        let operator = match token {
            "|" | "&" | "^" => Some(Operator::Bitwise(token.as_bytes()[0])),
            "<<" | ">>" => Some(Operator::Shift),
            "+" | "-" | "*" | "/" | "%" => Some(Operator::Arithmetic),
            "==" | "!=" | "<" | ">" | "<=" | ">=" => Some(Operator::Comparison),
            "&&" | "||" => Some(Operator::Logical(token.as_bytes()[0])),
            _ => None,
        };
        let ends = ["{", ")", "]", "}", ";", ",", ":"].contains(&token) || token.ends_with('=') && operator.is_none();
        match operator {
            Some(operator) if after_operand => expressions.last_mut().unwrap().push(operator),
            _ if ends && mixed(&std::mem::take(expressions.last_mut().unwrap())) => lines.push(line),
            _ => {}
        }
        match token {
            "(" | "[" | "{" => expressions.push(vec![]),
            ")" | "]" | "}" => {
                expressions.pop();
            }
            _ => {}
        }
        before = token;
    }
    lines
}

/// Lines in the body of a loop that declare a variable without an initial value. WGSL sets it to zero in each iteration;
/// in Chromium it keeps the value of the previous iteration.
fn loop_variables_without_value(text: &str) -> Vec<usize> {
    let tokens = tokens(text);
    let (mut lines, mut inside, mut begins) = (Vec::new(), vec![false], false);
    for (k, (line, token)) in tokens.iter().enumerate() {
        match *token {
            "for" | "while" | "loop" => begins = true,
            "{" => inside.push(std::mem::take(&mut begins) || *inside.last().unwrap()),
            "}" => {
                inside.pop();
            }
            "var" if *inside.last().unwrap() => {
                let next = tokens[k..].iter().find(|(_, token)| ["=", ";"].contains(token));
                lines.extend((next.unwrap().1 == ";").then_some(*line));
            }
            _ => {}
        }
    }
    lines
}

/// Lines with a number beyond the largest f32, to which naga rounds it.
fn literals_beyond_f32(text: &str) -> Vec<usize> {
    let numbers = tokens(text).into_iter().filter(|(_, token)| token.starts_with(|c: char| c.is_ascii_digit()));
    let decimal = numbers.filter(|(_, token)| !token.starts_with("0x"));
    let beyond = decimal
        .filter(|(_, token)| token.trim_end_matches('f').parse::<f64>().is_ok_and(|value| value > f64::from(f32::MAX)));
    beyond.map(|(line, _)| line).collect()
}

#[test]
fn what_browsers_refuse() {
    for (kernel, defined) in variants() {
        let (name, text) = (kernel.variant_name(defined), kernel.wgsl(defined));
        let faults: [(&str, Vec<usize>); 3] = [
            ("parentheses are missing between operators", operators_without_parentheses(&text)),
            ("a variable in a loop has no initial value", loop_variables_without_value(&text)),
            ("a number is beyond f32", literals_beyond_f32(&text)),
        ];
        for (what, lines) in faults {
            let shown: Vec<&str> = lines.iter().filter_map(|line| text.lines().nth(line - 1)).collect();
            assert!(lines.is_empty(), "{name}: {what}: {shown:#?}");
        }
    }
}

#[test]
fn the_checks_of_texts_notice() {
    let wrong = [
        "x = t << 16u | y;",
        "x = y | y >> 2u;",
        "x = (y >> (t & 31u) & 1u) == 1u;",
        "f(a & b == c);",
        "let x = a + 1u << 2u;",
        "if a == 1u && b || c { }",
        "return a << 1u << 2u;",
        "x |= array<u32, 4>(a & b | c)[0];",
    ];
    for text in wrong {
        assert_eq!(operators_without_parentheses(text), [1], "{text}");
    }
    let right = [
        "x = (t << 16u) | (4u * q + j);",
        "if a << 1u < b >> 2u && c == d { x &= ~(1u << (t & 31u)); }",
        "let p = &counts[i]; x = a | b | c; y = -a * b - c; f(-a, &b, a & b);",
        "var v: array<vec4<u32>, 4>; let w = bitcast<vec4<u32>>(x) & vec4<u32>(1u);",
    ];
    for text in right {
        assert!(operators_without_parentheses(text).is_empty(), "{text}");
    }
    let body = |line: &str| {
        format!("fn f() {{ var a: u32;\nfor (var i = 0u; i < 4u; i++) {{ if i > 1u {{\n{line}\n}} }} var b: u32; }}")
    };
    assert_eq!(loop_variables_without_value(&body("var x: array<vec4<u32>, 2>;")), [3]);
    assert_eq!(loop_variables_without_value("loop { var x: u32; }"), [1]);
    assert!(loop_variables_without_value(&body("var x = array<vec4<u32>, 2>(); // var y: u32;")).is_empty());
    assert_eq!(literals_beyond_f32("let x = -3.4028235e38;"), [1]);
    assert!(literals_beyond_f32("let x = -3.4028234e38; let y = 0xffffffffffu;").is_empty());
}
