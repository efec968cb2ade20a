//! The program of the built-in images.
//!
//! `corten-hello` answers HTTP on port 8080 (`PORT`) with the pod's name (`POD_NAME`, or the host name), its node (`NODE_NAME`) and its address.
//! `corten-hello pause` only waits for a signal and reaps children. Both end at SIGTERM, also as process 1 of a PID namespace.

mod serve;
mod signals;

use std::process::ExitCode;

const DEFAULT_PORT: u16 = 8080;

fn main() -> ExitCode {
    // Before any thread starts, so that all of them leave signals to this one.
    signals::block();
    if std::env::args().nth(1).as_deref() == Some("pause") {
        return signals::wait();
    }
    let port = match std::env::var("PORT").ok().map(|port| port.parse()).transpose() {
        Ok(port) => port.unwrap_or(DEFAULT_PORT),
        Err(error) => {
            eprintln!("PORT: {error}");
            return ExitCode::FAILURE;
        }
    };
    let listener = match serve::listen(port) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("listening on port {port}");
    std::thread::spawn(move || serve::run(&listener, &serve::Identity::of_this_pod()));
    signals::wait()
}
