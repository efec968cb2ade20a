use super::{HELLO, SHIM};

/// A dynamic program could not start in an empty root: no interpreter may be named (PT_INTERP is 3).
#[test]
fn programs_are_static_elf_files() {
    for program in [SHIM, HELLO] {
        assert_eq!(&program[..4], b"\x7fELF");
        let u16_at = |at: usize| usize::from(u16::from_le_bytes([program[at], program[at + 1]]));
        let table = usize::try_from(u64::from_le_bytes(program[32..40].try_into().unwrap())).unwrap();
        let (size, count) = (u16_at(54), u16_at(56));
        assert!(count > 0);
        for header in (0..count).map(|n| table + n * size) {
            assert_ne!(u16_at(header), 3, "program names an interpreter");
        }
    }
}
