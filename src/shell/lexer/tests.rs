//! Accepted and refused lines, rule by rule.

use super::*;
use proptest::prelude::*;

fn read(line: &[u8]) -> Result<Vec<Token<'_>>, LexError> {
    tokens(line).collect()
}

/// The meanings of a line's tokens.
fn values(line: &[u8]) -> Vec<Vec<u8>> {
    let tokens = read(line).unwrap_or_else(|error| panic!("{}: {error:?}", line.escape_ascii()));
    tokens.into_iter().map(|token| token.bytes.into_owned()).collect()
}

#[track_caller]
fn one(line: &[u8], expected: &[u8]) {
    assert_eq!(values(line), [expected], "{}", line.escape_ascii());
}

#[track_caller]
fn refused(line: &[u8], span: Range<usize>, expected: Expected) {
    assert_eq!(read(line), Err(LexError { span, expected }), "{}", line.escape_ascii());
}

#[track_caller]
fn needs_quotes(line: &[u8], span: Range<usize>, problem: &str, quoted: &str) {
    let quoted = Some(quoted.to_owned());
    refused(line, span, Expected::Quotes { problem: problem.into(), quoted });
}

#[test]
fn words_are_divided_by_blanks() {
    assert_eq!(values(b"set a b"), [b"set", &b"a"[..], b"b"]);
    assert_eq!(values(b" \tset\t a  "), [b"set", &b"a"[..]]);
    assert_eq!(values(b"get a\n"), values(b"get a\r\n"));
    assert_eq!(values(b"get a\r"), [b"get", b"a".as_slice()]);
    assert_eq!(values("get é🦀".as_bytes())[1], "é🦀".as_bytes());
    assert_eq!(values(b"a#b -5 a=b ; {}[]()<>|&*?!"), [&b"a#b"[..], b"-5", b"a=b", b";", b"{}[]()<>|&*?!"]);
    one(b"null", b"null");
    one(b"x", b"x");
    one(b"b64", b"b64");
}

#[test]
fn blank_lines_and_comments_have_no_tokens() {
    for line in [&b""[..], b"  \t ", b"\n", b"\r\n", b"# it's \"fine\" \x00\xff", b" \t# x\n"] {
        assert_eq!(values(line), Vec::<Vec<u8>>::new(), "{}", line.escape_ascii());
    }
    assert_eq!(values(b"set a # b"), [b"set", &b"a"[..], b"#", b"b"]);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    assert_eq!(skip_bom(b"\xef\xbb\xbfget a"), b"get a");
    assert_eq!(skip_bom(b"get \xef\xbb\xbf"), b"get \xef\xbb\xbf");
}

#[test]
fn spans_and_quoting_are_kept() {
    let read = read(br#"set "a b" c"#).unwrap();
    let shape: Vec<_> = read.iter().map(|token| (token.span.clone(), token.quoted)).collect();
    assert_eq!(shape, [(0..3, false), (4..9, true), (10..11, false)]);
    assert!(matches!(read[1].bytes, Cow::Borrowed(b"a b")));
}

#[test]
fn double_quotes_hold_every_byte_and_resolve_escapes() {
    one(br#""""#, b"");
    one(b"\"a\nb\r\n'#\x00\xff\x1b\"", b"a\nb\r\n'#\x00\xff\x1b");
    one(br#""\"\\\n\r\t\0""#, b"\"\\\n\r\t\0");
    one(br#""\x00\xfF\x4aq""#, b"\x00\xffJq");
    one(br#""\u{e9}\u{1F980}\u{0}\u{00e9}""#, "é🦀\0é".as_bytes());
    one(br#""a\\""#, b"a\\");
}

#[test]
fn single_quotes_know_no_escapes() {
    one(br"''", b"");
    one(br#"'a\n"b\'"#, br#"a\n"b\"#);
    one(b"'a\n\xff\x00'", b"a\n\xff\x00");
}

#[test]
fn codes_are_decoded() {
    one(br#"x"""#, b"");
    one(br#"x"00fFa0""#, b"\x00\xff\xa0");
    one(br#"b64"""#, b"");
    one(br#"b64"AP8=""#, b"\x00\xff");
    one(br#"b64"AP8""#, b"\x00\xff");
    one(br#"b64"YQ==""#, b"a");
    one(br#"b64"YWJj""#, b"abc");
    one(br#"b64"+/+/YWJj""#, b"\xfb\xff\xbfabc");
}

#[test]
fn an_option_with_a_value_is_two_tokens() {
    let read = read(br#"count --from="a b" --to=c --reverse --limit=-1"#).unwrap();
    let shape: Vec<_> =
        read.iter().map(|token| (&*token.bytes, token.quoted, token.attached, token.span.clone())).collect();
    assert_eq!(
        shape,
        [
            (&b"count"[..], false, false, 0..5),
            (b"--from", false, false, 6..12),
            (b"a b", true, true, 13..18),
            (b"--to", false, false, 19..23),
            (b"c", false, true, 24..25),
            (b"--reverse", false, false, 26..35),
            (b"--limit", false, false, 36..43),
            (b"-1", false, true, 44..46),
        ]
    );
    assert_eq!(values(b"get --a=b=c"), [&b"get"[..], b"--a", b"b=c"]);
    assert_eq!(values(br#"get --a=x"61""#)[2], b"a");
    assert_eq!(values(br#"get "--a=b""#)[1], b"--a=b");
    assert_eq!(values(b"get --a=--b=c")[2], b"--b=c");
    refused(b"get --a=", 8..8, Expected::Value);
    refused(b"get --a= b", 8..8, Expected::Value);
}

#[test]
fn nothing_is_an_option_after_a_bare_double_dash() {
    assert_eq!(values(b"get -- --a=b"), [&b"get"[..], b"--", b"--a=b"]);
    assert_eq!(values(br#"get "--" --a=b"#), [&b"get"[..], b"--", b"--a", b"b"]);
    needs_quotes(br#"get -- --a="b""#, 11..12, "quote", r#""--a=\"b\"""#);
}

#[test]
fn an_unterminated_quote_points_at_its_opening() {
    refused(br#"set a "b c"#, 6..7, Expected::ClosingQuote("\""));
    refused(b"set a \"b\nc\n", 6..7, Expected::ClosingQuote("\""));
    refused(br#"set a "b\"#, 6..7, Expected::ClosingQuote("\""));
    refused(br#"set a "b\""#, 6..7, Expected::ClosingQuote("\""));
    refused(br"set a 'b\", 6..7, Expected::ClosingQuote("'"));
    refused(br#"set a x"61"#, 6..8, Expected::ClosingQuote("x\""));
    refused(br#"set a b64"YQ"#, 6..10, Expected::ClosingQuote("b64\""));
    refused(br#"get --from="a"#, 11..12, Expected::ClosingQuote("\""));
}

#[test]
fn only_a_blank_follows_a_closing_quote() {
    refused(br#"get "a"b c"#, 7..8, Expected::BlankAfterQuote);
    refused(br#"get "a""b""#, 7..10, Expected::BlankAfterQuote);
    refused(br"get 'it''s'", 8..11, Expected::BlankAfterQuote);
    refused(br#"get x"61"62"#, 9..11, Expected::BlankAfterQuote);
    refused(b"get \"a\"\x0b", 7..8, Expected::BlankAfterQuote);
}

#[test]
fn a_word_holds_no_quote_backslash_control_or_odd_blank() {
    needs_quotes(b"set a it's", 8..9, "quote", r#""it's""#);
    needs_quotes(br#"set a say"hi" b"#, 9..10, "quote", r#""say\"hi\"""#);
    needs_quotes(br"get C:\new", 6..7, "backslash", r#""C:\\new""#);
    needs_quotes(br#"get \"a"#, 4..5, "backslash", r#""\\\"a""#);
    needs_quotes(b"get a\x00b", 5..6, "control byte 0x00", r#""a\x00b""#);
    needs_quotes(b"get a\rb", 5..6, "control byte 0x0d", r#""a\rb""#);
    needs_quotes(b"get a\nget b", 5..6, "newline", r#""a\nget""#);
    needs_quotes(b"\x7f", 0..1, "control byte 0x7f", r#""\x7f""#);
    needs_quotes("get a\u{85}".as_bytes(), 5..7, "control character U+0085", r#""a\u{85}""#);
    needs_quotes("get\u{a0}a".as_bytes(), 3..5, "blank U+00A0", "\"get\u{a0}a\"");
    needs_quotes(b"get a\xffb", 5..6, "byte 0xff, not UTF-8,", r#""a\xffb""#);
    needs_quotes(b"get x'61'", 5..6, "quote", r#""x'61'""#);
    needs_quotes(br#"get X"61""#, 5..6, "quote", r#""X\"61\"""#);
    let long = [&b"get "[..], &[b'a'; 100], b"'"].concat();
    refused(&long, 104..105, Expected::Quotes { problem: "quote".into(), quoted: None });
}

#[test]
fn bad_escapes_are_pointed_at() {
    refused(br#"get "a\qb""#, 6..8, Expected::Escape);
    refused("get \"\\é\"".as_bytes(), 5..8, Expected::Escape);
    refused(b"get \"\\\xff\"", 5..7, Expected::Escape);
    refused(b"get \"\\\n\"", 5..7, Expected::Escape);
    refused(br#"get "a\x4""#, 6..9, Expected::HexEscape);
    refused(br#"get "a\xg0""#, 6..8, Expected::HexEscape);
    refused(br#"get "\u41""#, 5..7, Expected::UnicodeEscape);
    refused(br#"get "\u{}""#, 5..7, Expected::UnicodeEscape);
    refused(br#"get "\u{41""#, 5..7, Expected::UnicodeEscape);
    refused(br#"get "\u{d800}""#, 5..13, Expected::Character);
    refused(br#"get "\u{110000}""#, 5..15, Expected::Character);
    refused(br#"get "\u{0000041}""#, 5..16, Expected::Character);
    refused(br#"get "\u{fffffffff}""#, 5..18, Expected::Character);
}

#[test]
fn bad_codes_are_pointed_at() {
    refused(br#"get x"6g""#, 7..8, Expected::HexDigit);
    refused(br#"get x"61 62""#, 8..9, Expected::HexDigit);
    refused("get x\"é\"".as_bytes(), 6..8, Expected::HexDigit);
    refused(br#"get x"616""#, 8..9, Expected::HexPair);
    refused(br#"get b64"Y-Q=""#, 9..10, Expected::Base64Digit);
    refused(br#"get b64"Y===""#, 9..10, Expected::Base64Digit);
    refused(br#"get b64"Y""#, 8..9, Expected::Base64Length);
    refused(br#"get b64"YQ=""#, 10..11, Expected::Base64Length);
    refused(br#"get b64"=""#, 8..9, Expected::Base64Length);
    refused(br#"get b64"YR==""#, 9..10, Expected::Base64Bits);
    refused(br#"get b64"YQ==YQ==""#, 10..11, Expected::Base64Digit);
}

#[test]
fn nothing_follows_an_error() {
    let mut tokens = tokens(b"get it's --a=");
    assert!(tokens.next().unwrap().is_ok());
    assert!(tokens.next().unwrap().is_err());
    assert_eq!(tokens.next(), None);
}

#[test]
fn errors_read_well() {
    let explain = |line: &[u8]| {
        let error = read(line).unwrap_err().explain(line);
        (error.message, error.label, error.help.unwrap_or_default())
    };
    let all = |message: &str, label: &str, help: &str| (message.into(), label.into(), help.into());
    assert_eq!(explain(b"a it's"), all("quote in an unquoted word", "the value needs quotes", r#""it's""#));
    assert_eq!(explain(b"a 'x"), all("unterminated quote", "this quote is never closed", ""));
    let escapes = r#"a backslash is \\; the other escapes are \" \n \r \t \0 \xHH \u{H…}"#;
    assert_eq!(explain(br#"a "\q""#), all(r#"unknown escape "\q""#, "not an escape", escapes));
    assert_eq!(explain(br#"a x"g0""#), all(r#""g" in a hex literal"#, "expected a hex digit", ""));
}

proptest! {
    #[test]
    fn any_bytes_give_tokens_or_a_place_in_the_line(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        check_places(&line)?;
    }

    #[test]
    fn any_near_miss_gives_tokens_or_a_place_in_the_line(line in "([ab64x=#\n\r \t\"'\\\\é{}u-]|--|--a=){0,40}") {
        check_places(line.as_bytes())?;
    }
}

fn check_places(line: &[u8]) -> Result<(), TestCaseError> {
    let mut end = 0;
    for item in tokens(line) {
        let span = item.as_ref().map_or_else(|error| error.span.clone(), |token| token.span.clone());
        prop_assert!(end <= span.start && span.start <= span.end && span.end <= line.len());
        match item {
            Ok(token) => end = token.span.end,
            Err(error) => drop(error.explain(line).render(line, None, crate::shell::look::Look::PLAIN)),
        }
    }
    Ok(())
}
