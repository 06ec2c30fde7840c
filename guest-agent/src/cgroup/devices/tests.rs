use super::*;

/// What the kernel would make of the program.
fn run(program: &[Instruction], kind: i32, access: i32, major: i64, minor: i64) -> bool {
    let mut registers = [0_i64; 6];
    let mut at = 0;
    loop {
        let Instruction { operation, registers: operands, offset, immediate } = program[at];
        let (to, from) = (usize::from(operands & 0xf), usize::from(operands >> 4));
        at += 1;
        let mut jump = |taken: bool| at += if taken { usize::try_from(offset).unwrap() } else { 0 };
        match operation {
            LOAD_HALF_WORD | LOAD_WORD => {
                assert_eq!(from, usize::from(CONTEXT));
                let wide = operation == LOAD_WORD;
                registers[to] = match (offset, wide) {
                    (0, false) => kind.into(),
                    (2, false) => access.into(),
                    (4, true) => major,
                    (8, true) => minor,
                    _ => panic!("a load from {offset}"),
                };
            }
            MOVE_VALUE => registers[to] = immediate.into(),
            JUMP => jump(true),
            JUMP_IF_ANY_SET => jump(registers[to] & i64::from(immediate) != 0),
            JUMP_IF_NOT_EQUAL => jump(registers[to] != i64::from(immediate)),
            EXIT => return registers[0] != 0,
            other => panic!("operation {other:#x}"),
        }
    }
}

fn rules(json: &str) -> Vec<DeviceRule> {
    serde_json::from_str(json).unwrap()
}

fn compiled(json: &str) -> Vec<Instruction> {
    compile(&rules(json).iter().map(|rule| Rule::parse(rule).unwrap()).collect::<Vec<_>>())
}

/// What hull asks for an ordinary container, in short.
const ORDINARY: &str = r#"[
    {"allow": false, "access": "rwm"},
    {"allow": true, "type": "c", "access": "m"},
    {"allow": true, "type": "b", "access": "m"},
    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    {"allow": true, "type": "c", "major": 136, "access": "rw"}
]"#;

#[test]
fn the_last_rule_that_fits_decides() {
    let program = compiled(ORDINARY);
    assert!(run(&program, CHARACTER, READ | WRITE, 1, 3), "null");
    assert!(!run(&program, CHARACTER, READ, 1, 1), "mem");
    assert!(!run(&program, BLOCK, READ, 254, 0), "a disk");
    assert!(run(&program, BLOCK, MAKE, 254, 0), "its node");
    assert!(!run(&program, BLOCK, MAKE | READ, 254, 0));
    assert!(run(&program, CHARACTER, WRITE, 136, 77), "a terminal");
    assert!(!run(&program, BLOCK, READ, 1, 3));
}

#[test]
fn a_denial_that_touches_some_of_the_access_denies_it() {
    let program = compiled(r#"[{"allow": true}, {"allow": false, "type": "c", "major": 1, "access": "w"}]"#);
    assert!(run(&program, CHARACTER, READ, 1, 3));
    assert!(!run(&program, CHARACTER, READ | WRITE, 1, 3));
    assert!(run(&program, CHARACTER, WRITE, 2, 3));
}

#[test]
fn without_a_rule_that_fits_the_answer_is_no() {
    let program = compiled(r#"[{"allow": true, "type": "c", "major": 1, "minor": 3}]"#);
    assert!(run(&program, CHARACTER, READ, 1, 3));
    assert!(!run(&program, CHARACTER, READ, 1, 5));
}

#[test]
fn everything_needs_no_program() {
    assert!(DeviceProgram::load(&[]).unwrap().is_none());
    let everything = rules(r#"[{"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm", "major": -1}]"#);
    assert!(DeviceProgram::load(&everything).unwrap().is_none());
}

#[test]
fn rules_that_are_none_are_refused() {
    for bad in [
        r#"{"allow":true,"type":"p"}"#,
        r#"{"allow":true,"major":-2}"#,
        r#"{"allow":true,"minor":4294967296}"#,
        r#"{"allow":true,"access":"rx"}"#,
    ] {
        assert!(DeviceProgram::load(&rules(&format!("[{bad}]"))).is_err(), "{bad}");
    }
}

#[test]
fn the_kernel_accepts_the_program() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: loading a program needs root");
        return;
    }
    DeviceProgram::load(&rules(ORDINARY)).unwrap().expect("rules that do not allow everything");
}

#[test]
fn instructions_have_the_kernels_layout() {
    assert_eq!(size_of::<Instruction>(), 8);
    assert_eq!(instruction(LOAD_WORD, KIND, CONTEXT, 0, 0).registers, 0x12);
}
