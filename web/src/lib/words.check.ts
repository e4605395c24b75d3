// Texts about the code of a printed prescription and the page that checks it: English, then German.

export const check = {
  'rx.code.title': ['For the pharmacy', 'Für die Apotheke'],
  'rx.code.text': [
    'Scan this code, or go to {{address}} and enter it there. It shows whether this prescription is genuine. No account is needed.',
    'Scannen Sie diesen Code oder geben Sie ihn auf {{address}} ein. Er zeigt, ob dieses Rezept echt ist. Ein Konto ist nicht nötig.',
  ],
  'rx.code.image': ['Code of this prescription', 'Code dieses Rezepts'],
  'rx.code.private': [
    'Whoever has the code can read this prescription, as whoever has the paper can.',
    'Wer den Code hat, kann dieses Rezept lesen, so wie jeder, der das Papier hat.',
  ],
  'rx.code.copy': ['Copy the code', 'Code kopieren'],
  'rx.code.copied': ['Copied', 'Kopiert'],
  'rx.code.long': [
    'This prescription is too long for a printed code. Write a shorter one.',
    'Dieses Rezept ist zu lang für einen gedruckten Code. Schreiben Sie ein kürzeres.',
  ],
  'rx.code.none': [
    'This prescription carries no signed statement, so there is no code for it.',
    'Zu diesem Rezept gibt es keine unterschriebene Erklärung und darum keinen Code.',
  ],
  'check.title': ['Check a prescription', 'Rezept prüfen'],
  'check.text': [
    'For pharmacies. Enter the code of a printed prescription, or choose a picture of it. The code is read in this page; what it says about the patient is not sent anywhere.',
    'Für Apotheken. Geben Sie den Code eines gedruckten Rezepts ein oder wählen Sie ein Bild davon. Diese Seite liest den Code; was er über den Patienten sagt, wird nirgendwohin gesendet.',
  ],
  'check.code': ['Code', 'Code'],
  'check.codeWhy': [
    'A hand scanner can type it here. The whole address that the code holds is fine too.',
    'Ein Handscanner kann ihn hier eintippen. Auch die ganze Adresse aus dem Code ist recht.',
  ],
  'check.picture': ['Picture of the code', 'Bild des Codes'],
  'check.choose': ['Choose a picture', 'Bild wählen'],
  'check.noCode': [
    'There is no readable code in this picture. Photograph it straight from above, in good light.',
    'In diesem Bild ist kein lesbarer Code. Fotografieren Sie ihn gerade von oben und bei gutem Licht.',
  ],
  'check.needCode': ['Enter the code', 'Geben Sie den Code ein'],
  'check.go': ['Check', 'Prüfen'],
  'check.working': [
    'Signatures and proofs are being checked.',
    'Unterschriften und Beweise werden geprüft.',
  ],
  'check.another': ['Check another', 'Ein weiteres prüfen'],
  'check.good': ['This prescription is genuine', 'Dieses Rezept ist echt'],
  'check.goodWhy': [
    'A doctor of this consortium signed exactly these words, and the members confirm that it was recorded.',
    'Ein Arzt dieses Konsortiums hat genau diese Worte unterschrieben, und die Mitglieder bestätigen, dass es festgehalten ist.',
  ],
  'check.since': [
    'Genuine, but the doctor is no longer authorised',
    'Echt, aber der Arzt ist nicht mehr zugelassen',
  ],
  'check.sinceWhy': [
    'When it was signed, the doctor was authorised; since then the authorisation has ended. Ask the doctor or the hospital before you dispense.',
    'Als es unterschrieben wurde, war der Arzt zugelassen; seitdem ist die Zulassung beendet. Fragen Sie den Arzt oder das Krankenhaus, bevor Sie es einlösen.',
  ],
  'check.unreadable': ['This is no whole code', 'Das ist kein vollständiger Code'],
  'check.unreadableWhy': [
    'The code is cut, mistyped or of something else. Scan it again.',
    'Der Code ist abgeschnitten, falsch abgetippt oder von etwas anderem. Scannen Sie ihn noch einmal.',
  ],
  'check.elsewhere': [
    'This is a code of another consortium',
    'Der Code gehört zu einem anderen Konsortium',
  ],
  'check.elsewhereWhy': [
    'This page can only check prescriptions of its own consortium. Nothing is said about this one.',
    'Diese Seite kann nur Rezepte ihres eigenen Konsortiums prüfen. Über dieses ist damit nichts gesagt.',
  ],
  'check.unknown': ['Do not dispense on this code', 'Auf diesen Code nichts abgeben'],
  'check.unknownWhy': [
    'The hospital that it names knows no prescription of exactly these words: it was changed, never signed, or has been erased.',
    'Das genannte Krankenhaus kennt kein Rezept mit genau diesen Worten: Es wurde verändert, nie unterschrieben oder gelöscht.',
  ],
  'check.false': ['Do not dispense: the proof fails', 'Nichts abgeben: Der Beweis hält nicht'],
  'check.falseWhy': [
    'What the hospital’s node answered is not signed as it must be ({{why}}). Tell the hospital.',
    'Was der Knoten des Krankenhauses antwortet, ist nicht so unterschrieben, wie es sein muss ({{why}}). Melden Sie das dem Krankenhaus.',
  ],
  'check.stale': ['The hospital is behind', 'Das Krankenhaus ist im Rückstand'],
  'check.staleWhy': [
    'Its node does not yet know what the others know, so whether the doctor is still authorised cannot be told. Try again in a minute.',
    'Sein Knoten weiß noch nicht, was die anderen wissen. Ob der Arzt noch zugelassen ist, lässt sich darum nicht sagen. Versuchen Sie es in einer Minute noch einmal.',
  ],
  'check.checked': ['What was checked', 'Was geprüft wurde'],
  'check.by': ['Doctor, as signed', 'Arzt, wie unterschrieben'],
  'check.number': ['doctor’s number {{number}}', 'Arztnummer {{number}}'],
  'check.at': ['Recorded', 'Festgehalten'],
  'check.step.signed': [
    'Both signatures of the doctor over these words',
    'Beide Unterschriften des Arztes unter diesen Worten',
  ],
  'check.step.recorded': [
    'Recorded in the ledger at entry {{entry}}, confirmed by {{quorum}} of {{members}} members or more',
    'Im Ledger festgehalten als Eintrag {{entry}}, bestätigt von mindestens {{quorum}} von {{members}} Mitgliedern',
  ],
  'check.step.doctor': [
    'The signer is a doctor whom the consortium authorised, as of {{at}}',
    'Wer unterschrieb, ist ein vom Konsortium zugelassener Arzt, Stand {{at}}',
  ],
  'check.step.former': [
    'The signer was an authorised doctor then; the state of {{at}} says no longer',
    'Wer unterschrieb, war damals zugelassener Arzt; nach dem Stand von {{at}} nicht mehr',
  ],
  'check.step.kept': [
    'The hospital still keeps it: it was not erased',
    'Das Krankenhaus bewahrt es noch auf: Es wurde nicht gelöscht',
  ],
  'check.not': ['What this does not say', 'Was das nicht sagt'],
  'check.not.used': [
    'Whether it was dispensed before. The consortium keeps no list of that.',
    'Ob es schon eingelöst wurde. Darüber führt das Konsortium keine Liste.',
  ],
  'check.not.person': [
    'Whether the person before you is the patient. Ask for identification as always.',
    'Ob die Person vor Ihnen der Patient ist. Lassen Sie sich wie immer einen Ausweis zeigen.',
  ],
  'check.not.page': [
    'Whether this page is the right one. Open it from your own bookmark rather than from the paper; the consortium’s number must be the one that you were given:',
    'Ob diese Seite die richtige ist. Öffnen Sie sie über Ihr eigenes Lesezeichen statt über das Papier; die Nummer des Konsortiums muss die sein, die man Ihnen gegeben hat:',
  ],
} as const satisfies Record<string, readonly [en: string, de: string]>;
