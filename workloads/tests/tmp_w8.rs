#![allow(clippy::unwrap_used, clippy::panic)]
use banksia_workloads::{Model, Parts, import_hf_file};
use std::path::Path;
#[test]
fn all() {
    for line in std::fs::read_to_string("/tmp/w8work/list.txt").unwrap().lines() {
        let p = Path::new(line);
        match import_hf_file(p, None, Parts::TextOnly) {
            Ok(m) => {
                let t = m.to_toml().unwrap();
                let again = Model::from_toml("x.toml", &t);
                let ok = again.as_ref().is_ok_and(|a| *a == m);
                println!("OK {} {} {} kv {} state {} {}", p.file_name().unwrap().to_str().unwrap(), m.parameters(), m.active_parameters(), m.kv_bytes_per_token(), m.state_bytes(), if ok {"rt"} else {"NOT ROUND TRIP"});
            }
            Err(e) => println!("ERR {} {}", p.file_name().unwrap().to_str().unwrap(), e.to_string().replace('\n', " | ")),
        }
    }
}
