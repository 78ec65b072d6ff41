//! From pages to the run: commands, which are checked when they arrive and carried out between steps.

use super::message::read_bytes;
use super::relock;
use crate::error::{Error, Result};
use crate::network::{SpikingLayer, Surrogate};
use crate::platform::{Instant, sleep};
use crate::train::RunConfig;
use serde::{Deserialize, Deserializer};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Most commands that wait.
const MOST_WAITING: usize = 64;

/// How often a run that waits looks whether a command came.
const LOOK: Duration = Duration::from_millis(5);

/// What a page asks for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Stops before the next step.
    Pause {},
    /// Goes on.
    Resume {},
    /// Trains one batch, then pauses.
    Step {},
    /// Changes the run from the next step on.
    Set {
        /// The learning rate, before the schedule's factor.
        lr: Option<f64>,
    },
    /// Ends this run and starts another one.
    Restart {
        /// What is different.
        #[serde(default)]
        settings: Settings,
    },
    /// Shows another sample.
    Sample {
        /// Its number.
        index: Option<usize>,
        /// 1: the next one; -1: the one before.
        #[serde(rename = "move")]
        by: Option<i64>,
        /// Among the wrongly classified ones only.
        #[serde(default)]
        wrong: bool,
    },
    /// Shows the incoming weights of a neuron.
    Weights {
        /// The weight layer, the readout being the last.
        layer: usize,
        /// The neuron.
        neuron: usize,
    },
    /// Classifies an image.
    Draw {
        /// One byte per pixel ([`super::message::bytes`]).
        pixels: String,
    },
    /// Runs two methods on the same batches.
    Race {
        /// Begins, or ends.
        on: bool,
    },
}

impl Command {
    /// Its name in `can` and in requests.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Pause {} => "pause",
            Command::Resume {} => "resume",
            Command::Step {} => "step",
            Command::Set { .. } => "set",
            Command::Restart { .. } => "restart",
            Command::Sample { .. } => "sample",
            Command::Weights { .. } => "weights",
            Command::Draw { .. } => "draw",
            Command::Race { .. } => "race",
        }
    }
}

/// Settings of a run that a page can change.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Settings {
    pub lr: Option<f64>,
    /// `null` is infinite: the surrogate is not masked.
    #[serde(deserialize_with = "number_or_infinity")]
    pub b_th: Option<f64>,
    pub surrogate: Option<Surrogate>,
    pub hidden: Option<Vec<usize>>,
    pub seed: Option<u64>,
}

/// A field that is given: JSON has no infinity.
fn number_or_infinity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Some(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::INFINITY)))
}

impl Settings {
    /// `config` with these settings, those of layers in all hidden layers.
    ///
    /// # Errors
    /// Those of [`RunConfig::check`].
    pub fn apply(&self, config: &RunConfig) -> Result<RunConfig> {
        let mut config = config.clone();
        if let Some(lr) = self.lr {
            config.adam.lr = lr;
        }
        if let Some(widths) = &self.hidden {
            if config.network.hidden.is_empty() {
                // There is no layer whose constants could be copied: the usual ones.
                config.network.hidden.push(SpikingLayer::lif(1));
            }
            config.network.set_hidden(widths)?;
        }
        for layer in &mut config.network.hidden {
            layer.b_th = self.b_th.unwrap_or(layer.b_th);
            layer.surrogate = self.surrogate.unwrap_or(layer.surrogate);
        }
        config.seed = self.seed.unwrap_or(config.seed);
        config.check()?;
        Ok(config)
    }
}

/// What commands are checked against.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The commands that are allowed.
    pub can: Vec<&'static str>,
    /// The run's configuration.
    pub config: RunConfig,
    /// Number of samples that can be shown.
    pub samples: usize,
    /// Whether it is known which samples are classified wrongly, and there is one.
    pub wrong: bool,
    /// Pixels of an image that can be drawn.
    pub pixels: Option<usize>,
}

impl Rules {
    /// # Errors
    /// A command that cannot be carried out, with the reason.
    pub fn check(&self, command: &Command) -> Result<()> {
        let name = command.name();
        if !self.can.contains(&name) {
            return Err(Error::Unsupported(format!(
                "`{name}` is not possible here; possible: {}",
                self.can.join(", ")
            )));
        }
        match command {
            Command::Set { lr: None } => Err(Error::Config("`set` sets nothing; give lr".into())),
            Command::Set { lr } => Settings { lr: *lr, ..Settings::default() }.apply(&self.config).map(drop),
            Command::Restart { settings } => settings.apply(&self.config).map(drop),
            Command::Sample { index: Some(index), by: None, .. } if *index >= self.samples => {
                Err(Error::field("index", index, format!("0 to {}", self.samples.saturating_sub(1))))
            }
            Command::Sample { index: None, by: Some(by), .. } if ![-1, 1].contains(by) => {
                Err(Error::field("move", by, "1 or -1"))
            }
            Command::Sample { index, by, .. } if index.is_some() == by.is_some() => {
                Err(Error::Config("`sample` is given either by index or by move".into()))
            }
            Command::Sample { wrong: true, .. } if !self.wrong => Err(Error::Data(
                "no sample is known to be classified wrongly; they are found by the test after each epoch".into(),
            )),
            Command::Weights { layer, neuron } => self.check_neuron(*layer, *neuron),
            Command::Draw { pixels } => match (read_bytes(pixels), self.pixels) {
                (Some(given), Some(pixels)) if given.len() == pixels => Ok(()),
                (Some(given), pixels) => {
                    Err(Error::field("pixels", given.len(), format!("{} bytes", pixels.unwrap_or(0))))
                }
                (None, _) => Err(Error::Config("pixels: must be `u8:` and base64".into())),
            },
            _ => Ok(()),
        }
    }

    fn check_neuron(&self, layer: usize, neuron: usize) -> Result<()> {
        let sizes = self.config.network.sizes();
        match sizes.get(1 + layer) {
            None => Err(Error::field("layer", layer, format!("0 to {}", sizes.len() - 2))),
            Some(&neurons) if neuron >= neurons => Err(Error::field("neuron", neuron, format!("0 to {}", neurons - 1))),
            Some(_) => Ok(()),
        }
    }
}

/// Commands between the thread of the server and that of the run.
#[derive(Default)]
pub struct Control {
    inner: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// `None` until a run has begun.
    rules: Option<Rules>,
    commands: VecDeque<Command>,
}

impl Control {
    /// What commands are checked against from now on. Earlier ones, for another run, are dropped.
    pub fn begin(&self, rules: Rules) {
        *relock(&self.inner) = Waiting { rules: Some(rules), commands: VecDeque::new() };
    }

    /// Changes the rules.
    pub fn change(&self, change: impl FnOnce(&mut Rules)) {
        if let Some(rules) = &mut relock(&self.inner).rules {
            change(rules);
        }
    }

    /// Accepts a command.
    ///
    /// # Errors
    /// It is not JSON, or no command; it cannot be carried out; too many wait.
    pub fn accept(&self, json: &[u8]) -> Result<()> {
        let command: Command =
            serde_json::from_slice(json).map_err(|e| Error::Config(format!("this is not a command: {e}")))?;
        let mut waiting = relock(&self.inner);
        match &waiting.rules {
            Some(rules) => rules.check(&command)?,
            None => return Err(Error::Config("the run has not begun yet; try again".into())),
        }
        if waiting.commands.len() >= MOST_WAITING {
            return Err(Error::Config(format!("{MOST_WAITING} commands wait already; try again later")));
        }
        // What comes after a restart is meant for a run that has not begun.
        if matches!(command, Command::Restart { .. }) {
            waiting.rules = None;
        }
        waiting.commands.push_back(command);
        Ok(())
    }

    /// The next command.
    pub fn next(&self) -> Option<Command> {
        relock(&self.inner).commands.pop_front()
    }

    /// The next command, which may come within `time`.
    pub fn wait(&self, time: Duration) -> Option<Command> {
        let begun = Instant::now();
        loop {
            let next = self.next();
            if next.is_some() || begun.elapsed() >= time {
                return next;
            }
            sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presets::ours;

    fn control(can: &[&'static str]) -> Control {
        let control = Control::default();
        let config = ours("fmnist").unwrap();
        control.begin(Rules { can: can.to_vec(), config, samples: 10, wrong: false, pixels: Some(2) });
        control
    }

    const ALL: [&str; 8] = ["pause", "resume", "step", "set", "restart", "sample", "weights", "draw"];

    #[test]
    fn good_commands_arrive_in_order() {
        let control = control(&ALL);
        for json in [
            r#"{"do":"pause"}"#,
            r#"{"do":"set","lr":0.01}"#,
            r#"{"do":"sample","index":9}"#,
            r#"{"do":"sample","move":-1,"wrong":false}"#,
            r#"{"do":"weights","layer":2,"neuron":9}"#,
            r#"{"do":"draw","pixels":"u8:AP8="}"#,
            r#"{"do":"restart","settings":{"b_th":0.3,"surrogate":"arctan","hidden":[20,10],"seed":4}}"#,
        ] {
            control.accept(json.as_bytes()).unwrap_or_else(|e| panic!("{json}: {e}"));
        }
        assert_eq!(control.next(), Some(Command::Pause {}));
        assert_eq!(control.wait(Duration::ZERO), Some(Command::Set { lr: Some(0.01) }));
        assert!(control.accept(br#"{"do":"pause"}"#).unwrap_err().to_string().contains("not begun"));
        let Some(Command::Restart { settings }) = control.inner.lock().unwrap().commands.pop_back() else { panic!() };
        let config = settings.apply(&ours("fmnist").unwrap()).unwrap();
        assert_eq!((config.network.sizes(), config.seed), (vec![784, 20, 10, 10], 4));
        assert!(config.network.hidden.iter().all(|l| l.b_th == 0.3 && l.surrogate == Surrogate::Arctan));
    }

    #[test]
    fn hidden_layers_can_be_taken_away_and_come_back() {
        let hidden = |widths: &[usize], config: &RunConfig| {
            Settings { hidden: Some(widths.to_vec()), ..Settings::default() }.apply(config).unwrap()
        };
        let none = hidden(&[], &ours("fmnist").unwrap());
        assert_eq!(none.network.sizes(), [784, 10]);
        assert_eq!(hidden(&[30, 20], &none).network.sizes(), [784, 30, 20, 10]);
        assert_eq!(hidden(&[], &none).network.sizes(), [784, 10]);
    }

    #[test]
    fn a_b_th_of_null_is_infinite_and_one_that_is_not_given_stays() {
        let config = ours("fmnist").unwrap();
        let b_th = |json: &str| {
            let settings: Settings = serde_json::from_str(json).unwrap();
            settings.apply(&config).unwrap().network.hidden[0].b_th
        };
        assert_eq!(b_th(r#"{"b_th":null}"#), f64::INFINITY);
        assert_eq!(b_th(r#"{"lr":0.1}"#), config.network.hidden[0].b_th);
    }

    #[test]
    fn bad_commands_are_refused_with_the_reason() {
        let control = control(&ALL);
        for (json, reason) in [
            ("", "not a command"),
            ("{}", "not a command"),
            (r#"{"do":"fly"}"#, "unknown variant `fly`"),
            (r#"{"do":"pause","x":1}"#, "unknown field `x`"),
            (r#"{"do":"set"}"#, "give lr"),
            (r#"{"do":"set","lr":-1}"#, "lr = -1"),
            (r#"{"do":"restart","settings":{"hidden":[0]}}"#, "neurons"),
            (r#"{"do":"restart","settings":{"surrogate":"step"}}"#, "unknown variant"),
            (r#"{"do":"sample"}"#, "either"),
            (r#"{"do":"sample","index":10}"#, "0 to 9"),
            (r#"{"do":"sample","move":2}"#, "1 or -1"),
            (r#"{"do":"sample","move":1,"wrong":true}"#, "after each epoch"),
            (r#"{"do":"weights","layer":3,"neuron":0}"#, "0 to 2"),
            (r#"{"do":"weights","layer":2,"neuron":10}"#, "0 to 9"),
            (r#"{"do":"draw","pixels":"u8:AA=="}"#, "2 bytes"),
            (r#"{"do":"draw","pixels":"AA=="}"#, "base64"),
            (r#"{"do":"race","on":true}"#, "not possible here"),
        ] {
            let error = control.accept(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{json}: {error}");
        }
        assert_eq!(control.next(), None);
        assert!(Control::default().accept(br#"{"do":"pause"}"#).unwrap_err().to_string().contains("not begun"));
    }

    #[test]
    fn too_many_commands_are_refused() {
        let control = control(&ALL);
        let pause = br#"{"do":"pause"}"#;
        (0..MOST_WAITING).for_each(|_| control.accept(pause).unwrap());
        assert!(control.accept(pause).unwrap_err().to_string().contains("try again later"));
    }
}
