//! Instruction traces as the public AiM simulator's files have them (arkhadem/aim_simulator): blanks or commas, `ISR_` or not, the full form of the
//! oldest files, and what a spreadsheet leaves behind. All give the instructions of the plain spelling.
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Write};

use banksia_hw::dram::catalog;
use banksia_hw::pim::{Instruction, IsaMachine, IsaSet};
use banksia_input::Source;
use proptest::prelude::*;

fn set() -> IsaSet {
    IsaSet::load("gddr6-aim", &catalog::load("gddr6-aim").unwrap()).unwrap()
}

fn read(set: &IsaSet, text: &str) -> Result<Vec<Instruction>, String> {
    let mut all = Vec::new();
    set.read_source(&Source::from_text("t", text), |i| all.push(i.clone())).map_err(|e| e.to_string())?;
    Ok(all)
}

/// Every kind of line: as written here; with commas and `ISR_`; and in eight numbers, as `example_AiM.csv` has them.
const LINES: [(&str, &str, &str); 19] = [
    ("W MEM 0 2 8", ",W,MEM,0,2,8,,,", "W MEM 0 2 8"),
    ("R MEM 3 2 0xb", "R,MEM,3,2,11", "R,MEM,3,2,11"),
    ("W GPR 0", ",W,GPR,0,,,,,", ",W,GPR,32,-1,,,,,,"),
    ("W CFR 0 1", "W, CFR, 0, 1", ",W,CFR,0x0010,1,,,,,,"),
    ("AiM WR_SBK 0 1 0 5", "AiM ISR_WR_SBK 0 1 0 5", ",AiM,ISR_WR_SBK,1,0,-1,1,0,5,0,-1"),
    ("AiM RD_SBK 20 1 3 0", ",AiM,RD_SBK,1,20,1,3,0,", ",AiM,ISR_RD_SBK,1,20,-1,1,3,0,0,-1"),
    ("AiM WR_ABK 4 0x80000000 7", "AiM,ISR_WR_ABK,4,2147483648,7", "AiM,ISR_WR_ABK,1,4,-1,0x80000000,-1,7,0,-1"),
    ("AiM WR_GB 2 2 15", "AiM,ISR_WR_GB,2,2,15", ",AiM,ISR_WR_GB,2,2,-1,15,-1,-1,0,-1"),
    ("AiM WR_BIAS 4 15", ",AiM,WR_BIAS,4,15,,,,", ",AiM,ISR_WR_BIAS,4,4,-1,15,-1,-1,-1,-1"),
    ("AiM MAC_ABK 2 15 0", "ISR_MAC_ABK 2 15 0", ",AiM,ISR_MAC_ABK,2,-1,-1,15,-1,0,0,0"),
    ("AiM MAC_SBK 2 15 1 0", "AiM\tISR_MAC_SBK, 2,15 ,1,0", ",AiM,ISR_MAC_SBK,2,-1,-1,15,1,0,0,1"),
    ("AiM EWMUL 2 15 0", "AiM,EWMUL,2,15,0,,,", ",AiM,ISR_EWMUL,2,-1,-1,15,0,0,0,-1"),
    ("AiM AF 15", "AiM,AF,15", ",AiM,ISR_AF,4,-1,-1,15,-1,-1,-1,0"),
    ("AiM RD_MAC 8 15", "AiM,ISR_RD_MAC,8,15", ",AiM,ISR_RD_MAC,4,8,-1,15,-1,-1,-1,0"),
    ("AiM RD_AF 16 15", "AiM,RD_AF,16,15", ",AiM,ISR_RD_AF,4,16,-1,15,-1,-1,-1,-1"),
    ("AiM EWADD 4 8 12", "AiM,ISR_EWADD,4,8,12", ",AiM,ISR_EWADD,4,8,12,-1,-1,-1,-1,-1"),
    ("AiM COPY_BKGB 2 15 0 9", "AiM,COPY_BKGB,2,15,0,9", ",AiM,ISR_COPY_BKGB,2,-1,-1,15,0,9,0,-1"),
    ("AiM COPY_GBBK 2 15 0 9", "AiM,COPY_GBBK,2,15,0,9,,", ",AiM,ISR_COPY_GBBK,2,-1,-1,15,0,9,0,-1"),
    ("AiM SYNC", "AiM,ISR_SYNC,,", "AiM SYNC"),
];

#[test]
fn every_spelling_is_the_same_instruction() {
    let set = set();
    for (plain, commas, full) in LINES {
        let expected = read(&set, plain).unwrap();
        assert_eq!(read(&set, commas).unwrap(), expected, "{commas}");
        assert_eq!(read(&set, full).unwrap(), expected, "{full}");
    }
    for end in ["AiM EOC", "AiM,ISR_EOC", "ISR_EOC", ",AiM,ISR_EOC,-1,-1,-1,-1,-1,-1,-1,-1", ",AiM,EOC,,,,,,"] {
        // Nothing behind it is read.
        assert_eq!(read(&set, &format!("{end}\nAiM NONE\n")).unwrap().len(), 1, "{end}");
    }
}

/// A file with comments and empty lines of commas, from a spreadsheet and compressed, runs as the plain one does.
#[test]
fn a_spreadsheet_runs_as_the_plain_file() {
    let device = catalog::load("gddr6-aim").unwrap();
    let set = set();
    let table = |column: fn(&(&'static str, &'static str, &'static str)) -> &'static str| -> String {
        let lines =
            LINES.iter().map(|l| format!("#,\"Write [2-data = 512 bits], x\",,,\r\n{}\r\n,,,,,,,,\r\n", column(l)));
        std::iter::once("\u{feff}# AiM [opcode]\r\n".to_owned())
            .chain(lines)
            .chain(["AiM,ISR_EOC\r\n".into()])
            .collect()
    };
    let cycles = |bytes: &[u8]| {
        let mut machine = IsaMachine::new(device.clone(), set.clone(), false).unwrap();
        set.read("t", &mut BufReader::new(bytes), |i| machine.run(i)).unwrap();
        machine.finish().cycles
    };
    let plain: String = LINES.iter().map(|l| format!("{}\n", l.0)).chain(["AiM EOC\n".into()]).collect();
    let expected = cycles(plain.as_bytes());
    for text in [table(|l| l.0), table(|l| l.1), table(|l| l.2)] {
        assert_eq!(cycles(text.as_bytes()), expected);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        assert_eq!(cycles(&packed.finish().unwrap()), expected);
    }
}

/// An access of one column that comes with a number of them is that many accesses.
#[test]
fn columns_of_an_access_are_so_many_accesses() {
    let set = set();
    let one = read(&set, "AiM WR_SBK 0 1 0 0\n").unwrap();
    for text in ["AiM,WR_SBK,2,0,1,0,0,", "AiM,ISR_WR_SBK,2,0,-1,1,0,0,0,-1"] {
        assert_eq!(read(&set, text).unwrap(), [one.clone(), one.clone()].concat(), "{text}");
    }
    for (text, expected) in [
        ("AiM,WR_SBK,65,0,1,0,0,", "t:1: has columns 65"),
        ("AiM,ISR_WR_SBK,-1,0,-1,1,0,0,0,-1", "t:1: has `-1`"),
        ("AiM,ISR_MAC_ABK,2,-1,-1,-1,-1,0,0,0", "t:1: has `-1`"),
        ("AiM,ISR_WR_AFLUT,1", "t:1: there is no instruction named `ISR_WR_AFLUT`"),
        ("AiM,ISR_WR_BIAS,1,0,15", "t:1: gives isr_wr_bias 3 operands"),
        ("AiM,ISR_", "t:1: there is no instruction"),
        ("AiM,,", "t:1: names no instruction"),
        ("AIM EOC", "t:1: begins with `AIM`"),
    ] {
        let error = read(&set, text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// No line is a panic.
    #[test]
    fn any_words_are_read_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "AiM", "ISR_", "ISR_EOC", "WR_SBK", "ISR_WR_GB", "MAC_ABK", "R", "W", "MEM", "GPR", "-1", "0", "3", "0xffffffff", "0x", ",", "#", "\n", "é",
        ]), 0..24),
        comma in any::<bool>(),
    ) {
        let _ = read(&set(), &words.join(if comma { "," } else { " " }));
    }
}
