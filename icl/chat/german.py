"""The page's words in German; what is not here is shown in English.

Each key is an argument of ``say``. Terms of the field stay as they are; a visitor is "Sie". A test
finds what is missing, unused or has other placeholders: tests/icl/chat/test_german.py.
"""

TRANSLATIONS: dict[str, str] = {
    # --- profiles and starters ---
    "Compare": "Vergleich",
    "Fine-tuned": "Fine-Tuning",
    "Few-shot": "Few-Shot",
    "Free prompt": "Freier Prompt",
    "**Spam or not?** Ask a fine-tuned model and a few-shot prompt.": (
        "**Spam oder nicht?** Fragen Sie ein feinabgestimmtes Modell und einen Few-Shot-Prompt."
    ),
    "A small GPT-2 that was **trained** on labelled messages.": (
        "Ein kleines GPT-2, das mit gelabelten Nachrichten **trainiert** wurde."
    ),
    "A language model that is **shown** a few labelled messages.": (
        "Ein Sprachmodell, dem ein paar gelabelte Nachrichten **gezeigt** werden."
    ),
    "A language model **continues** a prompt of examples.": (
        "Ein Sprachmodell **schreibt** einen Prompt aus Beispielen **weiter**."
    ),
    "A prize": "Ein Gewinn",
    "Dinner tonight": "Abendessen",
    "A tricky one": "Ein schwieriger Fall",
    "I am hungry": "Hunger",
    "A review": "Eine Rezension",
    "f of g": "f von g",
    # --- the verdict ---
    "spam": "Spam",
    "not spam": "kein Spam",
    "fine-tuned": "Fine-Tuning",
    "few-shot": "Few-Shot",
    "no answer": "keine Antwort",
    "No answer: the card says why.": "Keine Antwort: Die Karte sagt, warum.",
    "{who} says {what}; {other} has no answer.": (
        "{who} sagt „{what}“; {other} hat keine Antwort."
    ),
    "{who} says {what}.": "{who} sagt „{what}“.",
    "Both say {what}.": "Beide sagen „{what}“.",
    "They disagree: {said}.": "Sie sind sich nicht einig: {said}.",
    "{who} says {what}": "{who} sagt „{what}“",
    "Sorry: {problem}.": "Das ging leider nicht: {problem}.",
    # --- the cards ---
    "Probabilities": "Wahrscheinlichkeiten",
    "Time, price and settings": "Zeit, Preis und Einstellungen",
    "What the few-shot answer was made of": "Woraus die Few-Shot-Antwort entstand",
    "Examples": "Beispiele",
    "No examples were shown.": "Es wurden keine Beispiele gezeigt.",
    "similarity": "Ähnlichkeit",
    "Cosine similarity to your message": "Kosinus-Ähnlichkeit zu Ihrer Nachricht",
    "Exact prompt": "Genauer Prompt",
    "No language model was asked: the examples voted.": (
        "Es wurde kein Sprachmodell gefragt: Die Beispiele haben abgestimmt."
    ),
    "in prompt order": "in der Reihenfolge des Prompts",
    "the vote, nearest last": "die Abstimmung, das nächste zuletzt",
    "{count} tokens": "{count} Token",
    "free": "kostenlos",
    "price unknown": "Preis unbekannt",
    "Completion": "Fortsetzung",
    "as hoped": "wie erhofft",
    "hoped for: {answer}": "erhofft: {answer}",
    "The continuation": "So geht es weiter",
    "(nothing)": "(nichts)",
    "Time, length and price": "Zeit, Länge und Preis",
    # --- while one waits, and below an answer ---
    "Loading the models, which takes a few seconds after the start. Your answer follows.": (
        "Die Modelle werden geladen; nach dem Start dauert das einige Sekunden. Ihre Antwort folgt."
    ),
    "{count} messages are before yours. Your answer follows.": (
        "{count} Nachrichten sind vor Ihrer an der Reihe. Ihre Antwort folgt."
    ),
    "Why?": "Warum?",
    "Other k, other orders": "Anderes k, andere Reihenfolgen",
    "It is {label}": "Es ist: {label}",
    "Which answer is right? Your vote is kept.": (
        "Welche Antwort stimmt? Ihre Stimme wird gespeichert."
    ),
    "Part of this chat could not be kept; it will be missing when you come back.": (
        "Ein Teil dieses Chats konnte nicht gespeichert werden; er fehlt, wenn Sie wiederkommen."
    ),
    "Kept: it is {label}.": "Gespeichert: {label}.",
    # --- selectors ---
    "Zero-shot": "Zero-Shot",
    "No examples: what the language model knows by itself": (
        "Keine Beispiele: was das Sprachmodell von sich aus weiß"
    ),
    "Random": "Zufällig",
    "Any messages, whatever their label": "Beliebige Nachrichten, gleich mit welchem Label",
    "Balanced random": "Zufällig, ausgewogen",
    "Any messages, as many spam as not spam": (
        "Beliebige Nachrichten, gleich viele mit und ohne Spam"
    ),
    "Top-k": "Top-k",
    "The messages most similar to yours": "Die Nachrichten, die Ihrer am ähnlichsten sind",
    "MMR": "MMR",
    "Similar to yours, and not all alike": "Ihrer ähnlich, aber nicht alle gleich",
    "DPP": "DPP",
    "A varied set of similar messages": "Eine abwechslungsreiche Menge ähnlicher Nachrichten",
    "BM25": "BM25",
    "Messages that share rare words with yours": (
        "Nachrichten, die seltene Wörter mit Ihrer gemeinsam haben"
    ),
    "Hybrid": "Hybrid",
    "Similar in meaning and in words": "Ähnlich in Bedeutung und Wortwahl",
    "k-center + top-k": "k-Center + Top-k",
    "From 100 that leave no message far away": (
        "Aus 100, von denen keine Nachricht weit entfernt ist"
    ),
    "Facility + top-k": "Facility + Top-k",
    "From the 100 that cover the pool best": "Aus den 100, die den Pool am besten abdecken",
    "Vote-k list": "Vote-k-Liste",
    "The same examples for every message": "Für jede Nachricht dieselben Beispiele",
    "Vote-k + top-k": "Vote-k + Top-k",
    "From 100 that vote-k finds worth labelling": (
        "Aus 100, deren Label sich nach Vote-k am meisten lohnt"
    ),
    "Two-stage vote-k": "Zweistufiges Vote-k",
    "From 100 that vote-k and the language model find worth labelling": (
        "Aus 100, deren Label sich nach Vote-k und dem Sprachmodell am meisten lohnt"
    ),
    "MDL": "MDL",
    "The list that makes the language model most certain": (
        "Die Liste, mit der sich das Sprachmodell am sichersten ist"
    ),
    "ConE": "ConE",
    "Those after which your message is least surprising": (
        "Die, nach denen Ihre Nachricht am wenigsten überrascht"
    ),
    "kNN prompting": "kNN-Prompting",
    "The messages after which the language model expects the same words vote": (
        "Die Nachrichten, nach denen das Sprachmodell dieselben Wörter erwartet, stimmen ab"
    ),
    "kNN vote": "kNN-Abstimmung",
    "The most similar messages vote; no language model": (
        "Die ähnlichsten Nachrichten stimmen ab; ohne Sprachmodell"
    ),
    # --- orders, numbers, free prompts ---
    "Similar last": "Ähnliche zuletzt",
    "The most similar example next to your message": (
        "Das ähnlichste Beispiel direkt vor Ihrer Nachricht"
    ),
    "Similar first": "Ähnliche zuerst",
    "The most similar example at the top": "Das ähnlichste Beispiel ganz oben",
    "Interleaved": "Abwechselnd",
    "Labels alternate": "Die Labels wechseln sich ab",
    "Easy to hard": "Leicht nach schwer",
    "Short examples before long ones": "Kurze Beispiele vor langen",
    "Random order": "Zufällige Reihenfolge",
    "Shuffled: shows how much the order matters": (
        "Gemischt: zeigt, wie sehr die Reihenfolge zählt"
    ),
    "As ranked": "Nach Rang",
    "The selector's own order": "Die Reihenfolge der Auswahl selbst",
    "one example": "ein Beispiel",
    "{k} examples": "{k} Beispiele",
    "Translation": "Übersetzung",
    "German to English": "Deutsch nach Englisch",
    "Review sentiment": "Stimmung von Rezensionen",
    "Positive or negative": "Positiv oder negativ",
    "Function composition": "Verkettete Funktionen",
    "f and g from examples, then f of g": "f und g aus Beispielen, dann f von g",
    "Prompt": "Prompt",
    "Selector": "Auswahl",
    "Order": "Reihenfolge",
    # --- the settings panel ---
    "Task": "Aufgabe",
    "Balance of the examples": "Verteilung der Labels in den Beispielen",
    "Language model": "Sprachmodell",
    "Fine-tuned model": "Feinabgestimmtes Modell",
    "as many of each label": "von jedem Label gleich viele",
    "whatever is most similar": "was am ähnlichsten ist",
    "as in the pool": "wie im Pool",
    "at least one of each label": "von jedem Label mindestens eines",
    "Spam or not (SMS)": "Spam oder nicht (SMS)",
    "Film reviews, two labels (SST-2)": "Filmkritiken, zwei Labels (SST-2)",
    "Film reviews, five labels (SST-5)": "Filmkritiken, fünf Labels (SST-5)",
    "News topics (AG News)": "Themen von Nachrichten (AG News)",
    "Does it follow? (SNLI)": "Folgt es daraus? (SNLI)",
    "Common sense questions": "Fragen an den gesunden Menschenverstand",
    "What a question asks for (TREC)": "Wonach eine Frage fragt (TREC)",
    "Bank customers' requests (Banking77)": "Anliegen von Bankkunden (Banking77)",
    "Emotions": "Gefühle",
    # --- commands ---
    "Ask both methods": "Beide Methoden fragen",
    "Show the exact prompt": "Den genauen Prompt zeigen",
    "Draw what moved the answers": "Zeichnen, was die Antworten bewegt hat",
    "Try other numbers and orders of examples": (
        "Andere Anzahlen und Reihenfolgen von Beispielen probieren"
    ),
    "Add a labelled message to this chat's pool": (
        "Dem Pool dieses Chats eine gelabelte Nachricht hinzufügen"
    ),
    "Classify a file of messages": "Eine Datei mit Nachrichten klassifizieren",
    "List this chat's answers": "Die Antworten dieses Chats auflisten",
    "List the commands": "Die Befehle auflisten",
    "Show the latest comparison of the methods": "Den neuesten Vergleich der Methoden zeigen",
    "Draw which token looks at which": "Zeichnen, welches Token auf welches schaut",
    "Say what training a language model costs": (
        "Sagen, was es kostet, ein Sprachmodell zu trainieren"
    ),
    "Show what fewer bits a weight cost": "Zeigen, was weniger Bits pro Gewicht kosten",
    "Show what a model forgets when it learns something new": (
        "Zeigen, was ein Modell vergisst, wenn es etwas Neues lernt"
    ),
    "The answers of this chat, oldest first": "Die Antworten dieses Chats, die ältesten zuerst",
    "Message": "Nachricht",
    "{count} answers.": "{count} Antworten.",
    # --- labs ---
    "Fine-tuned: each row is what one token is made of. It looks at itself and at what came "
    "before; the last one has seen everything, and the answer is read there.": (
        "Fine-Tuning: Jede Zeile zeigt, woraus ein Token gemacht ist. Es schaut auf sich selbst "
        "und auf das, was vor ihm kam; das letzte hat alles gesehen, und dort wird die Antwort "
        "gelesen."
    ),
    "{parameters} parameters and {tokens} tokens: 6·N·D = {flop} FLOP, {ratio} tokens a parameter. "
    "Chinchilla's 20 would be {best} tokens; the same FLOP are best spent on {smaller} parameters "
    "and {more} tokens.": (
        "{parameters} Parameter und {tokens} Tokens: 6·N·D = {flop} FLOP, {ratio} Tokens pro "
        "Parameter. Chinchillas 20 wären {best} Tokens; dieselben FLOP sind am besten für "
        "{smaller} Parameter und {more} Tokens ausgegeben."
    ),
    "One accelerator at {share} of its peak": (
        "Ein Beschleuniger bei {share} seiner Spitzenleistung"
    ),
    "Accelerator": "Beschleuniger",
    "Hours": "Stunden",
    "Each weight of the bundled model in fewer bits. Spam is easy: most answers stay even with one "
    "bit a weight, so look at the errors, too.": (
        "Jedes Gewicht des mitgelieferten Modells in weniger Bits. Spam ist leicht: Selbst mit "
        "einem Bit pro Gewicht bleiben die meisten Antworten, also sieh dir auch die Fehler an."
    ),
    "Recorded on {count} test messages": "Aufgezeichnet an {count} Testnachrichten",
    "Stored as": "Gespeichert als",
    "Change of probability": "Änderung der Wahrscheinlichkeit",
    "Answers changed": "Geänderte Antworten",
    "Accuracy": "Genauigkeit",
    "gpt2-mini could tell spam, and learns to tell news from stories with a new head. Who learns "
    "slowly forgets little: compare the new task, too.": (
        "gpt2-mini konnte Spam erkennen und lernt mit einem neuen Kopf, Meldungen von Geschichten "
        "zu unterscheiden. Wer langsam lernt, vergisst wenig: Vergleiche auch die neue Aufgabe."
    ),
    "Recorded with {count} seeds": "Aufgezeichnet mit {count} Seeds",
    "Remedy": "Gegenmittel",
    "New task in the end": "Neue Aufgabe am Ende",
    "Old task in the end": "Alte Aufgabe am Ende",
    # --- why, sweep, teach ---
    "Fine-tuned: each bar is what changes when that word is left out (occlusion). It says what "
    "this model does, not why a person would; where words repeat each other, no single one counts "
    "for much.": (
        "Fine-Tuning: Jeder Balken zeigt, was sich ändert, wenn dieses Wort fehlt (Okklusion). Das "
        "sagt, was dieses Modell tut, nicht, warum ein Mensch es täte; wo Wörter einander "
        "wiederholen, zählt kein einzelnes viel."
    ),
    "Few-shot: the messages that can be shown, and those that were.": (
        "Few-Shot: die Nachrichten, die gezeigt werden können, und die, die gezeigt wurden."
    ),
    "Asking again with other examples …": "Frage mit anderen Beispielen noch einmal …",
    "Another order of the same examples changes the answer.": (
        "Eine andere Reihenfolge derselben Beispiele ändert die Antwort."
    ),
    "No order that was tried changes the answer.": (
        "Keine der probierten Reihenfolgen ändert die Antwort."
    ),
    "Nothing has been taught in this chat yet.": "In diesem Chat wurde noch nichts beigebracht.",
    "Teach it: /teach {label} and the message.": (
        "So geht es: /teach {label} und dann die Nachricht."
    ),
    "1 more message": "1 Nachricht",
    "{count} more messages": "{count} Nachrichten",
    "Learned as {label}: this chat's pool has {more}. Few-shot can be shown it at once; "
    "fine-tuning knows nothing of it until /train.": (
        "Gelernt als „{label}“: Der Pool dieses Chats hat {more} mehr. Few-Shot kann sie sofort "
        "gezeigt bekommen; Fine-Tuning weiß davon nichts bis /train."
    ),
    "Few-shot can be shown this message as {label}, and still says something else. The other "
    "examples weigh as much, and their order counts: try k = 1, or another order (/sweep).": (
        "Few-Shot kann diese Nachricht als „{label}“ gezeigt bekommen und sagt trotzdem etwas "
        "anderes. Die anderen Beispiele wiegen genauso viel, und ihre Reihenfolge zählt: Probieren "
        "Sie k = 1 oder eine andere Reihenfolge (/sweep)."
    ),
    # --- the report ---
    "The latest comparison: {source}, {test} test messages, {when}.": (
        "Der neueste Vergleich: {source}, {test} Testnachrichten, {when}."
    ),
    "The file has all tables and tests; it contains messages of the data.": (
        "Die Datei hat alle Tabellen und Tests; sie enthält Nachrichten aus den Daten."
    ),
    # --- a file ---
    "Send a .csv, .tsv, .txt, .xlsx or .jsonl file with messages, labelled or not.": (
        "Senden Sie eine .csv-, .tsv-, .txt-, .xlsx- oder .jsonl-Datei mit Nachrichten, mit Labels "
        "oder ohne."
    ),
    "Note: {note}.": "Hinweis: {note}.",
    "Of {rows} messages: {done}.": "Von {rows} Nachrichten: {done}.",
    "About {duration} left.": "Noch etwa {duration}.",
    "The stop button shows what is there.": "Der Stopp-Knopf zeigt, was schon da ist.",
    "Disagreements first; {shown} of {count} rows": (
        "Uneinigkeiten zuerst; {shown} von {count} Zeilen"
    ),
    "Row": "Zeile",
    "Label": "Label",
    "Why here": "Warum hier",
    "It was {stopped}.": "Angehalten: {stopped}.",
    "{count} without an answer": "{count} ohne Antwort",
    "They agree on {share} of the messages.": "Bei {share} der Nachrichten sind sie sich einig.",
    "{method}: accuracy {accuracy} ({low} to {high}), balanced {balanced}.": (
        "{method}: Genauigkeit {accuracy} ({low} bis {high}), balanciert {balanced}."
    ),
    "{method}: {count} of {asked} answers named no label and count as wrong.": (
        "{method}: {count} von {asked} Antworten nannten kein Label; sie zählen als falsch."
    ),
    "Always giving the commonest label would be right in {share}.": (
        "Immer das häufigste Label zu nennen, wäre in {share} richtig."
    ),
    "Right where the other is wrong: {alone}.": "Richtig, wo die andere irrt: {alone}.",
    "no file came; send /batch again when you have one": (
        "es kam keine Datei; senden Sie /batch noch einmal, wenn Sie eine haben"
    ),
    "the file is empty; send one with at least one message": (
        "die Datei ist leer; senden Sie eine mit mindestens einer Nachricht"
    ),
    "the file is too large; send one of at most 2 MB": (
        "die Datei ist zu groß; senden Sie eine mit höchstens 2 MB"
    ),
    "this kind of file is not read; send .csv, .tsv, .txt, .xlsx or .jsonl": (
        "diese Art von Datei wird nicht gelesen; senden Sie .csv, .tsv, .txt, .xlsx oder .jsonl"
    ),
    "this cannot be answered; reload the page and try again": (
        "das kann nicht beantwortet werden; laden Sie die Seite neu und versuchen Sie es wieder"
    ),
    "{count} rows without a text were skipped.": "{count} Zeilen ohne Text wurden übersprungen.",
    # --- /train ---
    "Fine-tune on what this chat was taught": "Fine-Tuning mit dem, was dieser Chat gelernt hat",
    "The training starts …": "Das Training beginnt …",
    "{count} trainings are before yours.": "Vor Ihrem Training sind noch {count} andere dran.",
    "Training on {taught} taught messages and others it knows: step {step} of {steps}.": (
        "Training mit {taught} beigebrachten Nachrichten und bekannten: Schritt {step} von {steps}."
    ),
    "The stop button ends it, and nothing changes.": (
        "Der Stopp-Knopf beendet es, und nichts ändert sich."
    ),
    "Trained in {seconds} s: it answers {learnt} of {taught} taught messages as taught. On "
    "messages put aside it was right in {before} of the cases before, and is in {after} now.": (
        "In {seconds} s trainiert: {learnt} von {taught} beigebrachten Nachrichten beantwortet es "
        "wie gelehrt. Bei zurückgelegten Nachrichten lag es vorher in {before} der Fälle richtig, "
        "jetzt in {after}."
    ),
    "Nothing was forgotten: what it answered right there, it still does.": (
        "Nichts wurde vergessen: was es dort richtig beantwortete, beantwortet es noch immer so."
    ),
    "Forgotten: of {right} messages put aside that it answered right, {count} are wrong now.": (
        "Vergessen: von {right} zurückgelegten Nachrichten, bei denen es richtig lag, sind {count} "
        "jetzt falsch."
    ),
}
