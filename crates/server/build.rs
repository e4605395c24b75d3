//! Copies the built web app of `web/dist/app`, if there is one, and lists it for embedding. A clone
//! without Node builds all the same.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script its folders in the environment"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Asked at run time: a build cache may hold this script from a clone that lay elsewhere.
    let manifest = env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.ok_or_else(|| io::Error::other("cargo sets CARGO_MANIFEST_DIR"))?;
    let folder = PathBuf::from(manifest).join("../../web/dist");
    // This folder is committed, so cargo looks again exactly when something in it changes.
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");

    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let out = Path::new(&out);
    // A copy, so that building the app again does not pull the files from under the compiler.
    let copy = out.join("app");
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    let app = folder.join("app");
    let mut files = BTreeMap::new();
    if app.join("index.html").is_file() {
        collect(&app, &copy, "", &mut files)?;
    }
    let mut table = String::from("&[\n");
    for (name, path) in &files {
        if name.ends_with(".br") || name.ends_with(".gz") {
            continue;
        }
        let variant = |ending: &str| match files.get(&format!("{name}{ending}")) {
            Some(path) => format!("Some(include_bytes!({path:?}))"),
            None => "None".to_owned(),
        };
        let (brotli, gzip) = (variant(".br"), variant(".gz"));
        let _ = writeln!(
            table,
            "Asset {{ path: {name:?}, plain: include_bytes!({path:?}), brotli: {brotli}, gzip: {gzip} }},"
        );
    }
    table.push_str("]\n");
    fs::write(out.join("assets.rs"), table)
}

fn collect(
    folder: &Path,
    copy: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, PathBuf>,
) -> io::Result<()> {
    fs::create_dir_all(copy)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let to = copy.join(&name);
        let name = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() {
            collect(&path, &to, &format!("{name}/"), files)?;
        } else {
            fs::copy(&path, &to)?;
            files.insert(name, to);
        }
    }
    Ok(())
}
