//! Servers written in Java: their jars by Maven, their process by `java`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Missing, cache};

/// Of this version on, Java runs the servers.
const VERSION_MIN: u32 = 17;
/// What to do where there is no Java.
pub(crate) const INSTALL: &str =
    "install Java 17 or later (Debian: apt-get install openjdk-17-jdk-headless)";
const INSTALL_MAVEN: &str =
    "install Maven (Debian: apt-get install maven), and let it reach its repository once";

/// How servers of tests write their logs.
pub(crate) const LOGGING: &str = "\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1.}: %m%n%throwable
";

/// Fails where this machine has no Java, or one that is too old.
pub(crate) fn find() -> Result<(), Missing> {
    let said = cache::run(Command::new("java").arg("--version"), INSTALL)?;
    // "openjdk 17.0.15 2025-04-15", "java 21 2023-09-19"
    let version = said.split_whitespace().nth(1).unwrap_or_default();
    let major = version.split(['.', '-', '+']).next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major < VERSION_MIN => {
            let what = format!("the Java of this machine is {version}, too old for the servers");
            Err(Missing { what, remedy: INSTALL })
        }
        _ => Ok(()),
    }
}

/// Put the jars of these artefacts (group, name, version), with all that they need, into `folder`.
pub(crate) fn fetch(folder: &Path, artefacts: &[(&str, &str, &str)]) -> Result<(), Missing> {
    let dependency = |(group, name, version): &(&str, &str, &str)| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    let dependencies: String = artefacts.iter().map(dependency).collect();
    let project = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>acequia.tests</groupId>\
         <artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>\
         <dependencies>{dependencies}</dependencies></project>"
    );
    let file = folder.join("pom.xml");
    fs::write(&file, project).unwrap();
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"]);
    command.arg(file).arg("-DoutputDirectory=.").current_dir(folder);
    cache::run(&mut command, INSTALL_MAVEN).map(drop)
}

/// The arguments of Java that run a class from the jars in `libraries`: a small heap, and the
/// compiler that is done first, since a server of tests lives for seconds.
pub(crate) fn arguments(libraries: &Path, rest: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
    ]
    .map(OsString::from)
    .into();
    arguments.push(libraries.join("*").into_os_string());
    arguments.extend(rest.iter().map(OsString::from));
    arguments
}
