// A table: the answers of a chat or of a file, or a lab's figures.
// `props` is a global set by Chainlit; every word and number comes from icl/chat/.
export default function AnswersTable() {
  return (
    <div className="ts-table" role="region" aria-label={props.caption} tabIndex={0} data-testid="answers-table">
      <table>
        <caption>{props.caption}</caption>
        <thead>
          <tr>{props.columns.map((title) => <th key={title} scope="col">{title}</th>)}</tr>
        </thead>
        <tbody>
          {props.rows.map((row, i) => (
            <tr key={i}>{row.map((cell, j) => <td key={j} dir="auto">{cell}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
