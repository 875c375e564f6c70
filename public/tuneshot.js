// For who listens to the page instead of looking at it: its language, and what Chainlit 2.12.0
// leaves without a name. Sets attributes; tests/test_accessibility.py checks the rest. And where a
// proxy says who is there, it is asked again and again (icl/chat/login/named.py).
{
  const german = navigator.language.toLowerCase().split("-")[0] === "de"
  document.documentElement.lang = german ? "de" : "en"

  // Buttons that are only a picture, and lists that open: selector -> name in English, in German.
  const NAMES = {
    "#chat-input": ["Message", "Nachricht"],
    "#chat-submit": ["Send", "Senden"],
    "#stop-button": ["Stop", "Anhalten"],
    "#upload-button": ["Attach a file", "Datei anhängen"],
    "#chat-settings-open-modal": ["More settings", "Weitere Einstellungen"],
    "#new-chat-button": ["New chat", "Neuer Chat"],
    "#chat-profiles": ["Methods", "Methoden"],
    "[id^=mode-picker-popover], #command-popover": ["Choices", "Auswahl"],
    "button:has(> .lucide-copy)": ["Copy", "Kopieren"],
    "button:has(> .lucide-arrow-down)": ["To the newest answer", "Zur neuesten Antwort"],
    "button:has(> :is(.lucide-eye, .lucide-eye-off))": ["Show the code", "Code zeigen"],
  }

  const set = (selector, attribute, value) => {
    for (const element of document.querySelectorAll(selector)) {
      const wanted = typeof value === "function" ? value(element) : value
      if (element.getAttribute(attribute) !== wanted) element.setAttribute(attribute, wanted)
    }
  }

  const repair = () => {
    for (const [selector, names] of Object.entries(NAMES))
      set(selector, "aria-label", names[german ? 1 : 0])
    set("#upload-button", "role", "button") // it says it were a mere decoration
    set("img:not([alt])", "alt", "")
    set("[role=listbox] [role=article]", "role", "none") // a profile's description is no article
    set("[cmdk-list]", "tabindex", "0") // a list that scrolls must be reachable to be scrolled
    set(".js-plotly-plot", "role", "img")
    set(".js-plotly-plot", "aria-label", (plot) => plot.layout?.meta?.description ?? "")
  }

  let due = false
  new MutationObserver(() => {
    if (due) return
    due = true
    requestAnimationFrame(() => {
      due = false
      repair()
    })
  }).observe(document.documentElement, { childList: true, subtree: true })

  const root = document.querySelector("script[src$='/public/tuneshot.js']")?.src.replace(/\/public\/.*/, "") ?? ""
  fetch(`${root}/auth/config`)
    .then((answer) => answer.json())
    .then(({ headerAuth }) => headerAuth && setInterval(() => fetch(`${root}/user`).catch(() => {}), 30_000))
    .catch(() => {})
}
