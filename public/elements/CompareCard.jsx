// The answer of each method, side by side; below, what the few-shot prompt was made of.
// `props` is a global set by Chainlit; every word and number comes from icl/chat/cards.py.
import { CircleCheck, CircleSlash, OctagonAlert, TriangleAlert } from "lucide-react"
import { Tabs, TabsContent, TabsList, TabsTrigger } from "@/components/ui/tabs"

function Label({ label, word, testid }) {
  const Icon = label === null ? CircleSlash : label === "spam" ? OctagonAlert : CircleCheck
  return (
    <span className="ts-label" data-tone={label} data-testid={testid}>
      <Icon aria-hidden="true" />
      {word}
    </span>
  )
}

function Bar({ bar, chosen }) {
  return (
    <li className="ts-bar" data-tone={bar.label} data-chosen={chosen}>
      <span className="ts-bar-word">{bar.word}</span>
      <span className="ts-track" aria-hidden="true">
        <span className="ts-fill" style={{ width: `${100 * bar.p}%` }} />
      </span>
      <span className="ts-bar-number">{bar.percent}</span>
    </li>
  )
}

function Side({ side, words }) {
  return (
    <section className="ts-side" aria-label={side.title} data-testid={`side-${side.method}`}>
      <header className="ts-head">
        <div>
          <h3 className="ts-title">{side.title}</h3>
          <p className="ts-model">{side.model}</p>
        </div>
        {side.word && (
          <Label label={side.label} word={side.word} testid={`label-${side.method}`} />
        )}
      </header>
      {side.problem && (
        <p className="ts-problem" role="alert" data-testid={`problem-${side.method}`}>
          <TriangleAlert aria-hidden="true" />
          <span>{side.problem}</span>
        </p>
      )}
      {side.bars && (
        <>
          {side.bars.length > 0 && (
            <ul className="ts-bars" aria-label={words.bars}>
              {side.bars.map((bar) => (
                <Bar key={bar.label} bar={bar} chosen={bar.label === side.label} />
              ))}
            </ul>
          )}
          <ul className="ts-facts" aria-label={words.facts}>
            <li><b>{side.latency}</b></li>
            {side.facts.map((fact) => <li key={fact}>{fact}</li>)}
          </ul>
          {side.notes.map((note) => <p className="ts-note" key={note}>{note}</p>)}
        </>
      )}
    </section>
  )
}

function Examples({ examples, caption, words }) {
  if (examples.length === 0) return <p className="ts-empty">{words.no_examples}</p>
  return (
    <div className="ts-examples">
      <p aria-hidden="true">
        <span>{caption}</span>
        {examples[0].similarity && <span>{words.similarity}</span>}
      </p>
      <ol>
        {examples.map((example, i) => (
          <li key={i} data-testid="example">
            <Label label={example.label} word={example.word} />
            <span className="ts-example-text" dir="auto">{example.text}</span>
            {example.similarity && (
              <span className="ts-similarity" title={words.cosine}>
                <span className="ts-unseen">{words.similarity} </span>{example.similarity}
              </span>
            )}
          </li>
        ))}
      </ol>
    </div>
  )
}

function Prompt({ text, words }) {
  if (!text) return <p className="ts-empty">{words.no_prompt}</p>
  return (
    <pre className="ts-prompt" data-testid="prompt" tabIndex={0} role="region" aria-label={words.prompt}>
      {text}
      <span className="ts-slot" aria-hidden="true" />
    </pre>
  )
}

export default function CompareCard() {
  const { sides, words } = props
  const shown = sides.find((side) => side.examples)
  return (
    <div className="ts-card" data-testid="compare-card">
      <div className="ts-sides" data-count={sides.length}>
        {sides.map((side) => <Side key={side.method} side={side} words={words} />)}
      </div>
      {shown && (
        <Tabs defaultValue="examples" className="ts-made-of">
          <TabsList aria-label={words.made_of}>
            <TabsTrigger value="examples">{words.examples} ({shown.examples.length})</TabsTrigger>
            <TabsTrigger value="prompt">{words.prompt}</TabsTrigger>
          </TabsList>
          <TabsContent value="examples">
            <Examples examples={shown.examples} caption={shown.caption} words={words} />
          </TabsContent>
          <TabsContent value="prompt"><Prompt text={shown.prompt} words={words} /></TabsContent>
        </Tabs>
      )}
    </div>
  )
}
