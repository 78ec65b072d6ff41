//! `spikegrad completions` and `spikegrad man`, and the layout of the texts after the options: for terminals and for manual pages.

use super::show::say;
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap::builder::{StyledStr, Styles};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use spikegrad::results::save_text;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Columns of help texts on wide terminals.
pub const WIDTH: usize = 80;
/// The section of manual pages for programs.
const SECTION: &str = "1";

#[derive(clap::Args)]
#[command(after_help = styled("\
Examples:
  # bash, in ~/.bashrc
  source <(spikegrad completions bash)
  # zsh, in ~/.zshrc
  source <(spikegrad completions zsh)
  # fish
  spikegrad completions fish > ~/.config/fish/completions/spikegrad.fish
  # PowerShell, in $PROFILE
  spikegrad completions powershell | Out-String | Invoke-Expression"))]
pub struct CompletionArguments {
    /// The shell
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = styled("\
Examples:
  spikegrad man | man -l -
  spikegrad man ~/.local/share/man/man1"))]
pub struct ManArguments {
    /// Write the pages of all commands to this folder, instead of printing the program's
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(arguments: &CompletionArguments) -> Result<ExitCode> {
    let mut script = Vec::new();
    let mut program = super::Arguments::command();
    let name = program.get_name().to_string();
    clap_complete::generate(arguments.shell, &mut program, name, &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes those of all commands.
pub fn man(arguments: &ManArguments) -> Result<ExitCode> {
    let mut program = super::Arguments::command().disable_help_subcommand(true);
    program.build();
    let Some(folder) = &arguments.folder else {
        say(page(&program)?.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    let pages = std::iter::once(&program).chain(commands);
    let mut written = 0;
    for command in pages {
        save(folder, command)?;
        written += 1;
    }
    say(format_args!("{}: {written} manual pages", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn save(folder: &Path, command: &clap::Command) -> Result<()> {
    let file = folder.join(Man::new(command.clone()).get_filename());
    Ok(save_text(&file, &page(command)?)?)
}

/// The manual page of a command, which must be built.
fn page(command: &clap::Command) -> Result<String> {
    let man = Man::new(command.clone()).section(SECTION).manual("spikegrad");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let after = command.get_after_help().map(StyledStr::to_string).unwrap_or_default();
    sections(&after, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A line of a text after the options.
enum Line<'a> {
    /// `Examples:`
    Heading(&'a str),
    /// An indented line, which is kept as it is.
    Indented(&'a str),
    Blank,
    Prose(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        match line.strip_suffix(':') {
            _ if line.trim().is_empty() => Line::Blank,
            _ if line.starts_with(' ') => Line::Indented(line),
            Some(heading) if heading.len() < WIDTH / 2 => Line::Heading(heading),
            _ => Line::Prose(line),
        }
    }
}

/// The text with its headings in the style of clap's.
pub fn styled(text: &str) -> StyledStr {
    let header = *Styles::styled().get_header();
    let line = |line| match Line::of(line) {
        Line::Heading(heading) => format!("{header}{heading}:{header:#}"),
        _ => line.to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n").into()
}

/// The text as sections of a manual page.
fn sections(text: &str, out: &mut dyn io::Write) -> io::Result<()> {
    let mut roff = Roff::default();
    let mut indented = false;
    for (k, line) in text.lines().map(Line::of).enumerate() {
        if indented != matches!(line, Line::Indented(_)) {
            indented = !indented;
            roff.control(if indented { "nf" } else { "fi" }, []);
        }
        match line {
            Line::Heading(heading) => drop(roff.control("SH", [heading.to_uppercase().as_str()])),
            Line::Blank => drop(roff.control("PP", [])),
            Line::Prose(line) if k == 0 => drop(roff.control("SH", ["NOTES"]).text([roman(line)])),
            Line::Indented(line) | Line::Prose(line) => drop(roff.text([roman(line)])),
        }
    }
    roff.to_writer(out)
}
