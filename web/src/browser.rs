//! What the worker calls.

// JSPI is experimental in wasm-bindgen, which it says by deprecating it.
#![allow(deprecated)]

use crate::{first_steps, session};
use js_sys::Function;
use serde_json::json;
use spikegrad::live::{Live, State};
use std::cell::RefCell;
use std::time::Duration;
use wasm_bindgen::prelude::*;

thread_local!(static LIVE: RefCell<Option<Live>> = const { RefCell::new(None) });

fn live() -> Option<Live> {
    LIVE.with_borrow(Clone::clone)
}

/// Carries out a command of the page between two steps; returns what is wrong with it.
#[wasm_bindgen]
pub fn act(json: &str) -> Option<String> {
    match live() {
        Some(live) => live.accept(json.as_bytes()).err().map(|error| error.to_string()),
        None => Some("The engine has not begun yet; try again.".into()),
    }
}

/// Trains on `device` (auto, cpu or gpu), and calls `tell` with every message for the page, as JSON. Does not return before the
/// run fails.
#[wasm_bindgen(jspi)]
pub fn run(device: &str, tell: Function) -> Result<(), JsError> {
    let live = Live::default();
    LIVE.set(Some(live.clone()));
    let panicked = tell.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let text = format!("The engine stopped at an error of its own: {panic}. Reload the page to start again.");
        let message = json!({ "type": "state", "state": State::Failed, "text": text });
        let _ = panicked.call1(&JsValue::NULL, &message.to_string().into());
    }));
    if let Some(page) = live.join() {
        js_sys::futures::spawn_local(async move {
            loop {
                let message = std::future::poll_fn(|context| page.poll(context)).await;
                let _ = tell.call1(&JsValue::NULL, &JsValue::from_str(&message));
            }
        });
    }
    let device = device.parse().map_err(|e: spikegrad::Error| JsError::new(&e.to_string()))?;
    session(device, &live).map_err(|error| JsError::new(&error.to_string()))
}

/// The first steps of a run as JSON, to be compared with those of the program.
#[wasm_bindgen(jspi, js_name = firstSteps)]
pub fn first_steps_here(device: &str, variant: &str, steps: usize) -> Result<String, JsError> {
    let clock = || Duration::from_secs_f64(1e-3 * js_sys::Date::now());
    let report = first_steps(device, variant, steps, clock).map_err(|error| JsError::new(&error.to_string()))?;
    Ok(report.to_string())
}
