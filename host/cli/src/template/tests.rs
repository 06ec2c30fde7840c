use super::*;
use serde_json::json;

fn render(template: &str) -> Result<String, TemplateError> {
    let value = json!({
        "ID": "0123", "Names": "web", "Empty": "", "Null": null,
        "State": {"Status": "running", "ExitCode": 3, "Running": true},
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"com.example.x": "y"}},
        "Label": {"k": "v"},
    });
    Template::parse(template)?.render(&value)
}

#[test]
fn fields_and_text_are_rendered() {
    let cases = [
        ("", ""),
        ("plain", "plain"),
        ("{{.ID}} {{ .Names }}", "0123 web"),
        ("{{.State.Status}}={{.State.ExitCode}}", "running=3"),
        ("{{.State.Running}}", "true"),
        (r"{{.ID}}\t{{.Names}}\n", "0123\tweb\n"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[com.example.x:y]"),
        ("{{.Null}}", "<no value>"),
        ("a {{- .ID -}} b", "a0123b"),
        ("{{/* comment */}}x", "x"),
        ("}} { {", "}} { {"),
    ];
    for (template, text) in cases {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn functions_and_pipes_are_applied() {
    let cases = [
        ("{{json .State}}", r#"{"ExitCode":3,"Running":true,"Status":"running"}"#),
        ("{{.Config.Env | json}}", r#"["A=1","B=2"]"#),
        ("{{json .Names}}", "\"web\""),
        ("{{upper .Names}}{{.Names | title}}", "WEBWeb"),
        ("{{len .Config.Env}}", "2"),
        ("{{index .Config.Env 1}}", "B=2"),
        (r#"{{index .Config.Labels "com.example.x"}}"#, "y"),
        (r#"{{index .Config.Labels "absent"}}"#, ""),
        (r#"{{.Label "k"}}"#, "v"),
        (r#"{{join .Config.Env ", "}}"#, "A=1, B=2"),
        (r#"{{index (split (index .Config.Env 0) "=") 1}}"#, "1"),
        (r#"{{if eq .State.Status "running"}}up{{else}}down{{end}}"#, "up"),
        ("{{if .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{if not .Null}}none{{end}}", "none"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        ("{{range .Null}}x{{else}}nothing{{end}}", "nothing"),
        (r#"{{"}}"}}"#, "}}"),
    ];
    for (template, text) in cases {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let cases = [
        ("{{.ID", "unclosed"),
        ("{{}}", "missing value"),
        ("{{.ID | }}", "missing value"),
        ("{{.Nope}}", "no field \"Nope\""),
        ("{{.State.Nope}}", "{{.State.Nope}}"),
        ("{{.ID.X}}", "no field"),
        ("{{bogus .ID}}", "\"bogus\" is not known"),
        ("{{json}}", "cannot work with"),
        ("{{index .Config.Env 7}}", "out of range"),
        ("{{if .ID}}x", "without {{end}}"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{range .ID}}{{end}}", "cannot go over"),
        ("{{.ID)}}", "unexpected )"),
        ("{{(.ID}}", "unclosed ("),
        ("{{\"x}}", "unclosed"),
        ("{{..}}", "unexpected"),
        ("{{$x}}", "unexpected"),
    ];
    for (template, part) in cases {
        let error = render(template).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{template}: {error}");
    }
    assert!(render(&"{{if .ID}}".repeat(1000)).is_err());
    assert!(render(&format!("{{{{{}}}}}", "(".repeat(10_000))).is_err());
}
