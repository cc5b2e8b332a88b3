//! Pages as a browser without a screen shows them: Chromium, where it is installed.

use std::path::Path;
use std::process::Command;

use crate::server::{has, needed};

/// What Chromium is called, by system.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Widths of a telephone and of a desk, in pixels.
const WIDTHS: [u32; 2] = [400, 1200];

/// Makes the page report the widths of its window and of its content, and the parts that are wider than the window.
const MEASURE: &str = "
<script>
const parts = [...document.querySelectorAll('body > *')];
const wide = parts.filter(part => part.getBoundingClientRect().right > innerWidth + 1);
const names = wide.map(part => `${part.tagName} ${part.className}`).join(', ');
parent.postMessage(`${innerWidth} ${document.documentElement.scrollWidth} ${names}`, '*');
</script>
";

/// A window of a width, since the browser's own is never narrower than 500 pixels.
fn frame(page: &str, width: u32) -> String {
    format!(
        "<!DOCTYPE html><script>addEventListener('message', event => {{ document.body.dataset.measured = event.data; }});\
         </script><body><iframe src=\"{page}\" width=\"{width}\" height=\"900\" style=\"border: 0\"></iframe>"
    )
}

/// Looks at a page in a browser: at each width its content must not be wider than the window, beside what scrolls by
/// itself, and the console must stay empty. Where there is no browser it says so, unless the tests require one.
///
/// # Panics
/// Where the page is not as it should be.
pub fn look(page: &Path) {
    let found = BROWSERS.into_iter().find(|browser| has(browser));
    let found = found.ok_or_else(|| format!("none of {} is installed", BROWSERS.join(", ")));
    let Some(browser) = needed(found, "browser", "TESTS_REQUIRE_BROWSER") else { return };
    let folder = tempfile::tempdir().expect("a folder for copies");
    let text = std::fs::read_to_string(page).expect("the page can be read");
    std::fs::write(folder.path().join("page.html"), text + MEASURE).expect("a copy of the page");
    for width in WIDTHS {
        let framed = folder.path().join("frame.html");
        std::fs::write(&framed, frame("page.html", width)).expect("a page around it");
        let (dom, log) = shown(browser, &framed);
        let (_, said) =
            dom.split_once("data-measured=\"").unwrap_or_else(|| panic!("not measured: {dom}\n{log}"));
        let said = said.split('"').next().unwrap_or_default();
        let numbers: Vec<u32> = said.split(' ').take(2).filter_map(|number| number.parse().ok()).collect();
        let [window, content] = numbers[..] else { panic!("not measured: {said}") };
        assert!(
            content <= window,
            "at {width} pixels the content is {content} wide, the window {window}: {said}"
        );
        let trouble: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(trouble.is_empty(), "{}", trouble.join("\n"));
    }
}

/// The page's elements as the browser has them, and its log.
fn shown(browser: &str, page: &Path) -> (String, String) {
    let profile = tempfile::tempdir().expect("a folder for the browser");
    let mut arguments = vec![
        // Root, as in a container, cannot use the sandbox; the page is our own.
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--enable-logging=stderr".to_owned(),
        "--dump-dom".to_owned(),
        // What the page tells comes after it is loaded.
        "--virtual-time-budget=3000".to_owned(),
        "--window-size=1300,1000".to_owned(),
    ];
    arguments.push(format!("--user-data-dir={}", profile.path().display()));
    arguments.push(format!("file://{}", page.display()));
    let output = Command::new(browser).args(&arguments).output().expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
