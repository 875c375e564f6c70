"use strict"
// Draws the report's figures. Plotly comes packed in the page itself; if it cannot be unpacked,
// the words in each figure's place stay, and so do the tables.

const figures = JSON.parse(document.getElementById("figures").textContent)
const config = { displayModeBar: false, responsive: true }

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent.trim())
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0))
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))
  return new Response(stream).text()
}

async function loadPlotly() {
  const script = document.createElement("script")
  script.textContent = await unpack("plotly") // runs when added; the page's policy knows its hash
  document.head.append(script)
}

function draw(place) {
  const { data, layout } = figures[place.dataset.figure]
  const narrow = place.clientWidth < 500
  const own = {
    ...layout,
    showlegend: false, // the page has its own, which works with the keyboard
    font: { ...layout.font, size: narrow ? 12 : 14 },
    margin: { ...layout.margin, t: 16 },
  }
  if (!place.classList.contains("js-plotly-plot")) place.replaceChildren()
  place.setAttribute("aria-label", layout.meta.description)
  const said = place.closest("figure").querySelector("figcaption")
  if (said) said.textContent = layout.meta.description
  return Plotly.react(place, data, own, config).then(() => show(place))
}

// Hides and shows a method: what the legend's buttons say.
function show(place) {
  const hidden = new Set()
  for (const button of place.closest("figure").querySelectorAll("button[data-method]"))
    if (button.getAttribute("aria-pressed") === "false") hidden.add(button.dataset.method)
  const visible = place.data.map((trace) => !hidden.has(trace.legendgroup))
  return Plotly.restyle(place, { visible })
}

for (const button of document.querySelectorAll("button[data-method]"))
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") === "true"
    button.setAttribute("aria-pressed", String(!pressed))
    const place = button.closest("figure").querySelector(".plot")
    if (place.data) show(place)
  })

for (const select of document.querySelectorAll("select[data-draws]"))
  select.addEventListener("change", () => {
    const place = document.getElementById(select.dataset.draws)
    place.dataset.figure = select.value
    if (window.Plotly) draw(place)
  })

// On paper: everything that is folded, and figures as wide as a page.
const plots = [...document.querySelectorAll(".plot")]
let folded = []
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")]
  for (const each of folded) each.open = true
  for (const plot of plots)
    if (plot.data) Plotly.relayout(plot, { width: Math.min(plot.clientWidth, 640) })
})
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false
  for (const plot of plots)
    if (plot.data) Plotly.relayout(plot, { width: null, autosize: true })
})

loadPlotly().then(async () => {
  for (const plot of plots) await draw(plot)
  document.documentElement.dataset.drawn = "true"
})
