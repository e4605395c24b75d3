//! Measures how many FHIR resources a second one core splits and classifies.
//!
//! `cargo run --release -p salus-clinical --example fhir_speed -- FOLDER` with a folder of `.json.gz`.
#![expect(clippy::disallowed_methods, reason = "a measurement needs a clock")]
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::time::Instant;

use salus_clinical::fhir::{Bundle, Limits, unpack};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name a folder of .json.gz bundles")?;
    let mut packed = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "gz") {
            packed.push(std::fs::read(path)?);
        }
    }
    let start = Instant::now();
    let bundles: Vec<Vec<u8>> = packed
        .iter()
        .map(|gzip| unpack(gzip, 256 << 20))
        .collect::<Result<_, _>>()?;
    let bytes: usize = bundles.iter().map(Vec::len).sum();
    println!("unpacked {bytes} bytes in {:?}", start.elapsed());
    for _ in 0..3 {
        let start = Instant::now();
        let mut resources = 0_usize;
        for json in &bundles {
            resources += Bundle::parse(json, Limits::default())?.resources.len();
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = resources as f64 / seconds;
        println!("{resources} resources in {seconds:.3} s: {rate:.0} a second");
    }
    Ok(())
}
