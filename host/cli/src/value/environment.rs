//! `--env` and `--env-file`, by Docker's rules: a name without a value takes the value of the caller's own environment.

use std::env;
use std::fs;
use std::path::Path;

/// The variables of files and flags, files first. A name that the caller does not have either is passed on from a flag,
/// where it takes the image's variable away, and dropped from a file.
pub fn environment(files: &[impl AsRef<Path>], flags: &[String]) -> Result<Vec<String>, String> {
    let own = |name: &str| env::var(name).ok();
    let mut variables = Vec::new();
    for file in files {
        variables.extend(read_env_file(file.as_ref(), &own)?);
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            return Err(format!("invalid environment variable: '{flag}'"));
        }
        let inherited = if flag.contains('=') { None } else { own(flag).map(|value| format!("{flag}={value}")) };
        variables.push(inherited.unwrap_or_else(|| flag.clone()));
    }
    Ok(variables)
}

/// The variables of a file: one a line, empty lines and lines that start with `#` left out, values as they stand.
fn read_env_file(path: &Path, own: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read the env file {}: {error}", path.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("env file {} is not UTF-8", path.display()))?;
    parse(&text, own).map_err(|why| format!("env file {}: {why}", path.display()))
}

fn parse(text: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(format!("no variable name on line {}", index + 1));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' on line {} contains white space", index + 1));
        }
        if line.contains('=') {
            variables.push(line.to_owned());
        } else if let Some(value) = own(name) {
            variables.push(format!("{name}={value}"));
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "OWN").then(|| "mine".to_owned())
    }

    #[test]
    fn files_follow_dockers_rules() {
        let text = "\u{feff}A=1\n\n  # comment\nB= two words \n  C=x=y\nOWN\nABSENT\nD=#no comment\r\n";
        assert_eq!(parse(text, &own).unwrap(), ["A=1", "B= two words ", "C=x=y", "OWN=mine", "D=#no comment"]);
        assert!(parse("=x", &own).unwrap_err().contains("line 1"));
        assert!(parse("A=1\nB C=2", &own).unwrap_err().contains("white space"));
    }

    #[test]
    fn flags_come_behind_files_and_may_take_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        fs::write(&file, "A=file").unwrap();
        let flags = ["A=flag".to_owned(), "HULL_TEST_ABSENT".to_owned()];
        assert_eq!(environment(&[&file], &flags).unwrap(), ["A=file", "A=flag", "HULL_TEST_ABSENT"]);
        assert!(environment(&[] as &[&Path], &["=x".to_owned()]).is_err());
        assert!(environment(&[directory.path().join("absent")], &[]).unwrap_err().contains("absent"));
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(environment(&[&file], &[]).unwrap_err().contains("not UTF-8"));
    }
}
