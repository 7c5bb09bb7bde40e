//! Traces of other simulators: each gives the requests that the same trace in the own format does, and says what is wrong with it.
#![allow(clippy::unwrap_used)]

use std::io::{BufReader, Cursor, Write};
use std::path::PathBuf;

use banksia_hw::dram::catalog;
use banksia_hw::dram::controller::{ControllerConfig, Request};
use banksia_hw::dram::memory::{MemoryOptions, RequestSource, TraceFormat, TraceReader, run};
use proptest::prelude::*;

/// A clock of 1.25 ns, transactions of 64 bytes, and 2^20 of them.
fn reader(text: &[u8], format: Option<TraceFormat>, trace_clock_fs: Option<u64>) -> TraceReader {
    let input = BufReader::with_capacity(7, Cursor::new(text.to_vec()));
    TraceReader::new("t.txt", Box::new(input), 64)
        .within(1 << 20, 1 << 40)
        .format(format)
        .clock(1_250_000, trace_clock_fs)
}

fn all(mut reader: TraceReader) -> Result<(Vec<Request>, u64, bool), String> {
    let mut out = Vec::new();
    while reader.fill(&mut out, 3).map_err(|e| e.to_string())? {}
    Ok((out, reader.wrapped(), reader.timed()))
}

fn read(text: &str) -> Result<(Vec<Request>, u64, bool), String> {
    all(reader(text.as_bytes(), None, None))
}

fn own(text: &str) -> Vec<Request> {
    all(reader(text.as_bytes(), Some(TraceFormat::Banksia), None)).unwrap().0
}

fn named(text: &str, format: &str, trace_clock_fs: Option<u64>) -> Result<Vec<Request>, String> {
    all(reader(text.as_bytes(), Some(format.parse().unwrap()), trace_clock_fs)).map(|(requests, ..)| requests)
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message of numbered fields, behind its length.
fn message(fields: &[(u64, u64)], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for (number, value) in fields {
        varint(number << 3, &mut body);
        varint(*value, &mut body);
    }
    varint(body.len() as u64, out);
    out.extend(body);
}

/// A packet trace: its tick frequency, and packets of tick, command, address and size.
fn packets(frequency: u64, packets: &[[u64; 4]]) -> Vec<u8> {
    let mut out = b"gem5".to_vec();
    let mut header = vec![0x0a, 12];
    header.extend(b"system.probe");
    for (number, value) in [(2, 0), (3, frequency)] {
        varint(number << 3, &mut header);
        varint(value, &mut header);
    }
    header.extend([0x22, 6, 0x08, 1, 0x12, 2, b'c', b'0']);
    varint(header.len() as u64, &mut out);
    out.extend(header);
    for [tick, command, address, size] in packets {
        message(&[(1, *tick), (2, *command), (3, *address), (4, *size), (5, 256), (7, 4_198_400)], &mut out);
    }
    out
}

#[test]
fn each_format_gives_the_requests_of_the_own() {
    for (text, same) in [
        ("0x80 READ 3\n\n0x1C0 WRITE   160\n0xff P_MEM_RD 165\n40 BOFF 170\n", "3 R 2\n160 W 7\n165 R 3\n170 W 1\n"),
        (
            "# a comment\n31: read 0x40\n33:\twrite\t0x80\t0x0123456789\n81: (128) read 0x100\n90: (2) write 0x7f\n",
            "31 R 1\n33 W 2\n81 R 4\n81 R 5\n90 W 1\n90 W 2\n",
        ),
        ("31 read 0x40\n", "31 R 1\n"),
        ("0x80 R\r\n0x40 W\r\n0x12345\n", "R 2\nW 1\nR 0x12345\n"),
        ("LD 0x80\nST 64\n", "R 2\nW 1\n"),
        (
            "r,128,64,4000\nw,64,64,0,5001\n7,r,192,32,256,6250,4198400\nr,0,200,7500\n",
            "4 R 2\n5 W 1\n5 R 3\n6 R 0\n6 R 1\n6 R 2\n6 R 3\n",
        ),
    ] {
        assert_eq!(read(text).unwrap().0, own(same), "{text}");
        assert_eq!(read(text).unwrap().2, same.starts_with(|c: char| c.is_ascii_digit()), "{text}");
    }
}

#[test]
fn packet_traces_are_decoded() {
    // A read, a write, a read of a cache, a dirty line's way back, and an eviction, which moves nothing.
    let trace = packets(
        1_000_000_000_000,
        &[[1250, 1, 64, 64], [1251, 4, 128, 64], [2500, 25, 192, 64], [2501, 7, 60, 8], [2600, 10, 0, 64]],
    );
    let expected = own("1 R 1\n2 W 2\n2 R 3\n3 W 0\n3 W 1\n");
    assert_eq!(all(reader(&trace, None, None)).unwrap(), (expected.clone(), 0, true));
    // The header's ticks are counted: of 10 ps each, they are ten times as late.
    let slow = packets(100_000_000_000, &[[125, 1, 64, 64]]);
    assert_eq!(all(reader(&slow, None, None)).unwrap().0, own("1 R 1\n"));
    assert_eq!(all(reader(&slow, None, Some(12_500_000))).unwrap().0, own("1250 R 1\n"));
    // gzip, as gem5 writes it where the name ends in .gz.
    let path = std::env::temp_dir().join(format!("banksia-packets-{}.trc.gz", std::process::id()));
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    packed.write_all(&trace).unwrap();
    packed.finish().unwrap();
    let opened = TraceReader::open(&path, 64).unwrap().clock(1_250_000, None);
    assert_eq!(all(opened).unwrap().0, expected);
    std::fs::remove_file(&path).unwrap();
    for cut in 0..trace.len() {
        let _ = all(reader(&trace[..cut], None, None));
        let _ = all(reader(&trace[..cut], Some(TraceFormat::Gem5), None));
    }
    let cut = all(reader(&trace[..trace.len() - 1], None, None)).unwrap_err();
    assert!(cut.contains("t.txt: ends within packet 5"), "{cut}");
    let atomic = all(reader(&packets(1, &[[0, 34, 0, 64]]), None, None)).unwrap_err();
    assert!(atomic.contains("packet 1: has the command 34"), "{atomic}");
    let text = named("R 5\n", "gem5", None).unwrap_err();
    assert!(text.contains("does not begin with the bytes `gem5`"), "{text}");
}

/// The time of a trace becomes the first cycle of this memory's clock that does not begin before it.
#[test]
fn times_become_cycles() {
    let mhz200 = Some(5_000_000);
    assert_eq!(named("10: read 0x40\n", "dramsys", mhz200).unwrap(), own("40 R 1\n"));
    assert_eq!(named("0x40 READ 3\n", "dramsim3", Some(1_000_000)).unwrap(), own("3 R 1\n"));
    assert_eq!(named("0x40 READ 10\n", "dramsim3", Some(833_000)).unwrap(), own("7 R 1\n"));
    assert_eq!(named("r,64,64,1251\n", "gem5-text", None).unwrap(), own("2 R 1\n"));
    for format in ["ramulator", "ramulator2", "ramulator-cpu", "banksia"] {
        let error = named("R 5\n", format, mhz200).unwrap_err();
        assert!(error.contains("`--trace-clock-ps` is"), "{format}: {error}");
    }
}

/// Without a cycle a line comes with the one before it; whether any has one is said.
#[test]
fn lines_without_a_cycle_come_with_the_one_before() {
    let (requests, _, timed) = read("R 1\n100 R 2\nW 3\n  R 0x80\n90 R 4\nR 5\n").unwrap();
    let arrivals: Vec<u64> = requests.iter().map(|r| r.arrival).collect();
    assert_eq!((arrivals, timed), (vec![0, 100, 100, 100, 90, 90], true));
    assert!(!read("R 1\nW 2\n").unwrap().2);
    assert!(read("R 1\n  5 W 0x40").unwrap().2);
}

/// Those tools' addresses wrap, and are counted; the own format's are refused.
#[test]
fn addresses_beyond_the_memory_wrap() {
    let (requests, wrapped, _) = read("0x4000040 R\n0x80 R\nffffffffffffffff W\n0x3ffffff R\n").unwrap();
    assert_eq!(requests, own("R 1\nR 2\nW 1048575\nR 1048575\n"));
    assert_eq!(wrapped, 2);
    let (requests, wrapped, _) = read("0: (192) write 0x3ffffc0\n").unwrap();
    assert_eq!((requests, wrapped), (own("0 W 1048575\n0 W 0\n0 W 1\n"), 2));
    assert!(read("R 0x4000000\n").unwrap_err().contains("t.txt:1: has the address `0x4000000`, which lies beyond"));
}

#[test]
fn traces_of_cores_are_read_where_they_are_named() {
    let text = "3 20734016\n8 20841280 20841344\n";
    let error = read(text).unwrap_err();
    assert!(error.contains("core's instructions") && error.contains("--trace-format ramulator-cpu"), "{error}");
    assert_eq!(named(text, "ramulator-cpu", None).unwrap(), own("R 323969\nR 325645\nW 325646\n"));
}

#[test]
fn what_cannot_be_read_says_why() {
    for (text, expected) in [
        ("0x80 READ 3\n0x80 FETCH 4\n", "t.txt:2: has `FETCH` where READ, WRITE or P_MEM_RD should stand"),
        ("0x80 READ 3\n0x80 READ\n", "t.txt:2: ends where the cycle should stand"),
        ("0x80 READ -3\n", "t.txt:1: has the cycle `-3`"),
        ("0x80 READ 3\nx READ 3\n", "t.txt:2: has the address `x`"),
        ("0x80 READ 3 4\n", "t.txt:1: goes on with `4`"),
        ("31: read\n", "t.txt:1: ends where the address should stand"),
        ("31: erase 0x40\n", "t.txt:1: has `erase` where read or write should stand"),
        ("31: (12 read 0x40\n", "t.txt:1: has the length `(12`"),
        ("31: (0) read 0x40\n", "t.txt:1: asks for no bytes"),
        ("31: (99999999999) read 0x40\n", "t.txt:1: asks for 99999999999 bytes at a time"),
        (
            "31: (64) read 0xffffffffffffffff\n",
            "t.txt:1: asks for 64 bytes at 0xffffffffffffffff: they end past 64 bits",
        ),
        ("99999999999999: read 0x40\n", "t.txt:1: has the cycle 99999999999999: this memory's clock is followed to"),
        ("0x80 R\n0x80 READ\n", "t.txt:2: has `READ` where R or W should stand"),
        ("LD 0x80\nLOAD 5\n", "t.txt:2: has `LOAD` where LD or ST should stand"),
        ("LD 0x80\nST\n", "t.txt:2: ends where the address should stand"),
        ("ST 0x1ffffffffffffffff\n", "t.txt:1: has the address `0x1ffffffffffffffff`"),
        ("R 0,1,2,100,32\n", "t.txt: is a trace of address vectors"),
        ("r,1,64,3\nu,1,64,3\n", "t.txt:2: has the command `u`"),
        ("r,1,64,3\nr,1,64\n", "t.txt:2: has 2 fields after the command"),
        ("r,1,64,3\nr,1,x,3\n", "t.txt:2: has the size `x`"),
        ("R 1\nQ 2\n", "t.txt:2: has `Q` where R or W should stand"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        let others = text.starts_with("R 0,") || error.contains("dramsys") && error.contains("gem5-text");
        assert!(others, "names no other format: {error}");
    }
    let relative = TraceReader::new("a/b.rstl", Box::new(Cursor::new(b"3: read 0x0\n".to_vec())), 64);
    assert!(all(relative).unwrap_err().contains("end of the transaction before"));
    assert!("dramsim".parse::<TraceFormat>().unwrap_err().to_string().contains("did you mean `dramsim3`"));
}

/// The files of `tests/reference/dram/traces` in other formats run as what they were written from.
#[test]
fn files_run_as_what_they_were_written_from() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/dram/traces");
    let device = catalog::load("ddr4-2400r").unwrap();
    let clock_fs = device.clock_fs * u64::from(device.ticks_per_clock);
    let options = MemoryOptions {
        channels: 1,
        controller: ControllerConfig::reference(),
        outstanding: None,
        exact_stepping: false,
    };
    let report = |name: &str| {
        let reader = TraceReader::open(&folder.join("other").join(name), device.access_bytes).unwrap();
        let span = device.capacity_bytes() / u64::from(device.access_bytes);
        run(&device, &mut reader.within(span, 1 << 40).clock(clock_fs, None), &options).unwrap()
    };
    let (timed, plain) = (report("banksia-timed.txt"), report("banksia.txt"));
    assert_eq!((timed.requests, plain.requests), (60, 60));
    for name in ["dramsim3.trc", "dramsys.stl", "gem5.txt", "gem5.trc.gz"] {
        assert_eq!(report(name), timed, "{name}");
    }
    for name in ["ramulator.trace", "ramulator2.trace"] {
        assert_eq!(report(name), plain, "{name}");
    }
}

/// What begins as a line of each format does, and goes on as it likes.
fn garbled() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop::sample::select(vec![
        &b""[..],
        b"R ",
        b"12 W ",
        b"0x80 READ ",
        b"0x80 READ 3\n",
        b"31: ",
        b"31: read 0x40\n",
        b"31: (",
        b"0x80 R\n",
        b"LD ",
        b"LD 0\nST ",
        b"R 0,",
        b"3 4\n",
        b"r,",
        b"r,1,64,3\n",
        b"7,w,",
        b"gem5",
        b"gem5\x02\x18\x01",
        b"gem5\x02\x18\x01\x0a",
    ]);
    let alphabet =
        prop::sample::select(b"0123456789abcdefxRWrwuLDST:(), #\n\r\t-\x00\x01\x08\x0a\x10\x18\x20\x80\xff".to_vec());
    let rest = prop_oneof![prop::collection::vec(alphabet, 0..60), prop::collection::vec(any::<u8>(), 0..60)];
    (begin, rest).prop_map(|(begin, rest)| [begin, &rest].concat())
}

proptest! {
    /// No input is a panic, whatever the format; what is read lies within the memory and its time.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in garbled(), format in 0..10usize, clock in prop::option::of(1..u64::MAX)) {
        let format = TraceFormat::ALL.get(format).copied();
        let mut reader = reader(&bytes, format, clock);
        let mut out = Vec::new();
        for _ in 0..1000 {
            match reader.fill(&mut out, 1000) {
                Ok(true) => {}
                _ => break,
            }
        }
        prop_assert!(out.iter().all(|r| r.index < 1 << 20 && r.arrival <= 1 << 40));
    }
}
