//! Ports, device memory and doorbells.

use super::Test;
use super::machine::{Access, Answers, DATA, DEVICE, END, Machine, TELL};
use Access::{In, Load, Out, Store};
use hull_hypervisor::Vm as _;
use hull_platform::event::Event;

pub const TESTS: &[Test] = &[
    ("io::port_writes_of_each_width", port_writes_of_each_width),
    ("io::port_reads_of_each_width", port_reads_of_each_width),
    ("io::string_writes_come_one_by_one_and_in_order", string_writes_come_one_by_one_and_in_order),
    ("io::string_reads_come_one_by_one_and_in_order", string_reads_come_one_by_one_and_in_order),
    ("io::device_writes_of_each_width", device_writes_of_each_width),
    ("io::device_reads_of_each_width", device_reads_of_each_width),
    ("io::instructions_that_read_and_write_a_device", instructions_that_read_and_write_a_device),
    ("io::string_instruction_from_memory_to_a_device", string_instruction_from_memory_to_a_device),
    ("io::access_across_pages_comes_in_parts", access_across_pages_comes_in_parts),
    ("io::what_nobody_answers_reads_as_ones", what_nobody_answers_reads_as_ones),
    ("io::memory_ends_where_it_should", memory_ends_where_it_should),
    ("io::doorbells_ring_for_their_value_and_width_alone", doorbells_ring_for_their_value_and_width_alone),
];

/// A port that the guest uses.
const PORT: u16 = 0x1234;
/// Long enough to need more than one page of bytes.
const MANY: usize = 5000;

fn out(port: u16, data: &[u8]) -> Access {
    Out(port, data.to_vec())
}

fn store(address: u64, data: &[u8]) -> Access {
    Store(address, data.to_vec())
}

/// What the guest says with `out dx, eax`.
fn tell(value: u32) -> Access {
    Out(TELL, value.to_le_bytes().to_vec())
}

fn port_writes_of_each_width() {
    let program = "
        b8 11 22 33 44                  ; mov eax, 0x44332211
        e6 80                           ; out 0x80, al
        66 e7 80                        ; out 0x80, ax
        e7 80                           ; out 0x80, eax
        66 ba 34 12                     ; mov dx, 0x1234
        ee                              ; out dx, al
        66 ef                           ; out dx, ax
        ef                              ; out dx, eax
    ";
    let ran = Machine::new(&[program, END]).run();
    let [byte, word, double] = [&[0x11][..], &[0x11, 0x22], &[0x11, 0x22, 0x33, 0x44]];
    let expected = [0x80, PORT].map(|port| [byte, word, double].map(|data| out(port, data)));
    assert_eq!(ran.accesses, expected.concat());
}

fn port_reads_of_each_width() {
    // Says each time what all of EAX has become.
    let program = "
        66 ba 34 12                     ; mov dx, 0x1234
        bb 00 06 00 00                  ; mov ebx, 0x600
        31 c0                           ; xor eax, eax
        ec                              ; in al, dx
        87 da                           ; xchg edx, ebx
        ef                              ; out dx, eax
        87 da                           ; xchg edx, ebx
        66 ed                           ; in ax, dx
        87 da                           ; xchg edx, ebx
        ef                              ; out dx, eax
        87 da                           ; xchg edx, ebx
        ed                              ; in eax, dx
        87 da                           ; xchg edx, ebx
        ef                              ; out dx, eax
    ";
    let ran = Machine::new(&[program, END]).run();
    let expected = [In(PORT, 1), tell(0x01), In(PORT, 2), tell(0x0302), In(PORT, 4), tell(0x0706_0504)];
    assert_eq!(ran.accesses, expected);
}

/// `count` numbers of `width` bytes, counting from 1.
fn counting(from: usize, width: usize, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let byte = move |index: usize| u8::try_from((from + index + 1) % 256).expect("below 256");
    (0..count).map(move |number| (number * width..(number + 1) * width).map(byte).collect())
}

fn string_writes_come_one_by_one_and_in_order() {
    let program = "
        be 00 90 00 00                  ; mov esi, 0x9000
        66 ba 34 12                     ; mov dx, 0x1234
        b9 88 13 00 00                  ; mov ecx, 5000
        f3 6e                           ; rep outsb
        b9 05 00 00 00                  ; mov ecx, 5
        66 f3 6f                        ; rep outsw
        b9 03 00 00 00                  ; mov ecx, 3
        f3 6f                           ; rep outsd
    ";
    let machine = Machine::new(&[program, END]);
    for (index, byte) in counting(0, 1, MANY + 10 + 12).enumerate() {
        machine.memory.write(DATA + index as u64, byte[0]);
    }
    let bytes = counting(0, 1, MANY);
    let rest = counting(MANY, 2, 5).chain(counting(MANY + 10, 4, 3));
    let expected: Vec<_> = bytes.chain(rest).map(|data| Out(PORT, data)).collect();
    assert_eq!(machine.run().accesses, expected);
}

fn string_reads_come_one_by_one_and_in_order() {
    let program = "
        bf 00 90 00 00                  ; mov edi, 0x9000
        66 ba 34 12                     ; mov dx, 0x1234
        b9 88 13 00 00                  ; mov ecx, 5000
        f3 6c                           ; rep insb
        b9 05 00 00 00                  ; mov ecx, 5
        66 f3 6d                        ; rep insw
        b9 03 00 00 00                  ; mov ecx, 3
        f3 6d                           ; rep insd
        ef                              ; out dx, eax
    ";
    let ran = Machine::new(&[program, END]).run();
    let widths = [vec![1; MANY], vec![2; 5], vec![4; 3]].concat();
    let reads: Vec<_> = widths.into_iter().map(|width| In(PORT, width)).collect();
    // KVM may read ahead, but never more than the guest asked for.
    assert_eq!(ran.accesses[..reads.len()], reads);
    assert_eq!(ran.accesses.len(), reads.len() + 1);
    assert_eq!(ran.memory.bytes(DATA, MANY + 22), counting(0, 1, MANY + 22).flatten().collect::<Vec<_>>());
}

fn device_writes_of_each_width() {
    let program = "
        bb 00 00 00 d0                  ; mov ebx, 0xd0000000
        b8 11 22 33 44                  ; mov eax, 0x44332211
        88 03                           ; mov [ebx], al
        66 89 43 02                     ; mov [ebx + 2], ax
        89 43 04                        ; mov [ebx + 4], eax
        0f 6e c0                        ; movd mm0, eax
        0f 62 c0                        ; punpckldq mm0, mm0
        0f 7f 43 08                     ; movq [ebx + 8], mm0
    ";
    let expected = [
        store(DEVICE, &[0x11]),
        store(DEVICE + 2, &[0x11, 0x22]),
        store(DEVICE + 4, &[0x11, 0x22, 0x33, 0x44]),
        store(DEVICE + 8, &[0x11, 0x22, 0x33, 0x44, 0x11, 0x22, 0x33, 0x44]),
    ];
    assert_eq!(Machine::new(&[program, END]).run().accesses, expected);
}

fn device_reads_of_each_width() {
    let program = "
        bb 00 00 00 d0                  ; mov ebx, 0xd0000000
        66 ba 00 06                     ; mov dx, 0x600
        31 c0                           ; xor eax, eax
        8a 43 01                        ; mov al, [ebx + 1]
        ef                              ; out dx, eax
        66 8b 43 02                     ; mov ax, [ebx + 2]
        ef                              ; out dx, eax
        8b 43 04                        ; mov eax, [ebx + 4]
        ef                              ; out dx, eax
        0f 6f 43 08                     ; movq mm0, [ebx + 8]
        0f 7e c0                        ; movd eax, mm0
        ef                              ; out dx, eax
        0f 73 d0 20                     ; psrlq mm0, 32
        0f 7e c0                        ; movd eax, mm0
        ef                              ; out dx, eax
    ";
    let expected = [
        Load(DEVICE + 1, 1),
        tell(0x01),
        Load(DEVICE + 2, 2),
        tell(0x0302),
        Load(DEVICE + 4, 4),
        tell(0x0706_0504),
        Load(DEVICE + 8, 8),
        tell(0x0b0a_0908),
        tell(0x0f0e_0d0c),
    ];
    assert_eq!(Machine::new(&[program, END]).run().accesses, expected);
}

fn instructions_that_read_and_write_a_device() {
    let program = "
        bb 00 00 00 d0                  ; mov ebx, 0xd0000000
        b9 07 00 00 00                  ; mov ecx, 7
        83 43 10 10                     ; add dword [ebx + 0x10], 0x10
        87 4b 14                        ; xchg [ebx + 0x14], ecx
        0f b6 43 18                     ; movzx eax, byte [ebx + 0x18]
        66 ba 00 06                     ; mov dx, 0x600
        ef                              ; out dx, eax
        89 c8                           ; mov eax, ecx
        ef                              ; out dx, eax
    ";
    let expected = [
        Load(DEVICE + 0x10, 4),
        store(DEVICE + 0x10, &[0x11, 2, 3, 4]),
        Load(DEVICE + 0x14, 4),
        store(DEVICE + 0x14, &[7, 0, 0, 0]),
        Load(DEVICE + 0x18, 1),
        tell(0x09),
        tell(0x0807_0605),
    ];
    assert_eq!(Machine::new(&[program, END]).run().accesses, expected);
}

fn string_instruction_from_memory_to_a_device() {
    let program = "
        be 00 90 00 00                  ; mov esi, 0x9000
        bf 20 00 00 d0                  ; mov edi, 0xd0000020
        b9 03 00 00 00                  ; mov ecx, 3
        f3 a5                           ; rep movsd
    ";
    let machine = Machine::new(&[program, END]);
    machine.memory.write(DATA, [1_u32, 2, 3]);
    let expected = [0, 1, 2].map(|index: u8| store(DEVICE + 0x20 + u64::from(index) * 4, &[index + 1, 0, 0, 0]));
    assert_eq!(machine.run().accesses, expected);
}

fn access_across_pages_comes_in_parts() {
    let program = "
        b8 11 22 33 44                  ; mov eax, 0x44332211
        a3 fd 0f 00 d0                  ; mov [0xd0000ffd], eax
    ";
    let mut at = DEVICE + 0xffd;
    let mut bytes = Vec::new();
    for access in Machine::new(&[program, END]).run().accesses {
        let Store(address, data) = access else { panic!("{access:?}") };
        assert_eq!(address, at);
        at += data.len() as u64;
        bytes.extend(data);
    }
    assert_eq!(bytes, [0x11, 0x22, 0x33, 0x44]);
}

fn what_nobody_answers_reads_as_ones() {
    // Ports that a PC would have; addresses that a PC would have, and one between.
    let read_port = |port: u16| {
        let [low, high] = port.to_le_bytes();
        format!(
            "66 ba {low:02x} {high:02x} ; mov dx, {port:#x}\n ed ; in eax, dx\n 66 ba 00 06 ; mov dx, 0x600\n ef ; out dx, eax\n"
        )
    };
    let read_address = |address: u32| {
        let [a, b, c, d] = address.to_le_bytes();
        format!(
            "a1 {a:02x} {b:02x} {c:02x} {d:02x} ; mov eax, [{address:#x}]\n 66 ba 00 06 ; mov dx, 0x600\n ef ; out dx, eax\n"
        )
    };
    let ports = [0x0, 0x40, 0x60, 0x64, 0x70, 0x80, 0x3f8, 0xcf8, 0xcfc, 0xfffc];
    let addresses = [0x8000_0000, 0xc000_0000, 0xfed0_0000, 0xffff_fff0];
    let program: String = ports.into_iter().map(read_port).chain(addresses.into_iter().map(read_address)).collect();
    let ran = Machine::with(1, &[&program, END], "", Answers::Ones).run();
    let reads = ports.map(|port| In(port, 4)).into_iter().chain(addresses.map(|at| Load(at.into(), 4)));
    assert_eq!(ran.accesses, reads.flat_map(|read| [read, tell(u32::MAX)]).collect::<Vec<_>>());
}

fn memory_ends_where_it_should() {
    let program = "
        b8 11 22 33 44                  ; mov eax, 0x44332211
        a3 fc ff 0f 00                  ; mov [0xffffc], eax
        a3 00 00 10 00                  ; mov [0x100000], eax
    ";
    let ran = Machine::new(&[program, END]).run();
    assert_eq!(ran.memory.read::<u32>(0xf_fffc), 0x4433_2211);
    assert_eq!(ran.accesses, [store(0x10_0000, &[0x11, 0x22, 0x33, 0x44])]);
}

fn doorbells_ring_for_their_value_and_width_alone() {
    let program = "
        bb 50 00 00 d0                  ; mov ebx, 0xd0000050
        b8 03 00 00 00                  ; mov eax, 3
        89 03                           ; mov [ebx], eax
        89 03                           ; mov [ebx], eax
        66 89 03                        ; mov [ebx], ax
        88 03                           ; mov [ebx], al
        40                              ; inc eax
        89 03                           ; mov [ebx], eax
        40                              ; inc eax
        89 03                           ; mov [ebx], eax
        89 43 04                        ; mov [ebx + 4], eax
    ";
    const BELL: u64 = DEVICE + 0x50;
    let machine = Machine::new(&[program, END]);
    let Some(doorbells) = machine.vm.doorbells() else { return };
    let events = [Event::new().unwrap(), Event::new().unwrap()];
    doorbells.attach(BELL, 3, &events[0]).unwrap();
    doorbells.attach(BELL, 5, &events[1]).unwrap();
    let expected =
        [store(BELL, &[3, 0]), store(BELL, &[3]), store(BELL, &[4, 0, 0, 0]), store(BELL + 4, &[5, 0, 0, 0])];
    assert_eq!(machine.run().accesses, expected);
    assert_eq!(events.map(|event| event.clear().unwrap()), [Some(2), Some(1)]);
}
