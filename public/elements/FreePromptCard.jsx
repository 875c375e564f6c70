// What the language model wrote after a free prompt, and the exact prompt.
// `props` is a global set by Chainlit; every word and number comes from icl/chat/cards.py.
export default function FreePromptCard() {
  return (
    <div className="ts-card" data-testid="free-prompt-card">
      <section className="ts-side" aria-label={props.words.completion}>
        <header className="ts-head">
          <div>
            <h3 className="ts-title">{props.words.title}</h3>
            <p className="ts-model">{props.model}</p>
          </div>
        </header>
        <p className="ts-written" dir="auto" data-testid="written">{props.text || props.words.nothing}</p>
        <ul className="ts-facts" aria-label={props.words.facts}>
          {props.facts.map((fact) => <li key={fact}>{fact}</li>)}
        </ul>
      </section>
      <pre className="ts-prompt" data-testid="prompt" tabIndex={0} role="region" aria-label={props.words.prompt}>
        {props.prompt}
        <mark className="ts-goes-on">{` ${props.text}`}</mark>
      </pre>
    </div>
  )
}
