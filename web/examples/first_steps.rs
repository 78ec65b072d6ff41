//! `first_steps DEVICE VARIANT STEPS`: the first steps of a run as JSON. tests/web compares them with those of a browser.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, variant, steps] = arguments.as_slice() else {
        return Err("usage: first_steps DEVICE VARIANT STEPS (VARIANT may be empty)".into());
    };
    let begun = std::time::Instant::now();
    println!("{}", spikegrad_web::first_steps(device, variant, steps.parse()?, || begun.elapsed())?);
    Ok(())
}
