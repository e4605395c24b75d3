// Texts of taking many files in: English, then German.

export const many = {
  'm.text': [
    'FHIR bundles say whose they are: each patient in them is opened and sealed under a number of their own. ECGs (WFDB), DICOM files, pictures, PDF and text do not; choose whose they are. Everything is read, checked and sealed in this page.',
    'FHIR-Bundles sagen, wessen sie sind: Jeder Patient darin wird unter einer eigenen Nummer angelegt und versiegelt. EKGs (WFDB), DICOM-Dateien, Bilder, PDF und Text sagen es nicht; wählen Sie, wessen sie sind. Alles wird auf dieser Seite gelesen, geprüft und versiegelt.',
  ],
  'm.again': [
    'An import that was interrupted, even by a closed page, goes on when you choose the same files again: what is on the ledger already is recognised and not taken in twice. That holds for what you took in here yourself, with the same keys; what colleagues or the hospital’s program took in is not recognised.',
    'Eine unterbrochene Aufnahme, auch durch eine geschlossene Seite, geht weiter, wenn Sie dieselben Dateien noch einmal wählen: Was schon im Ledger steht, wird erkannt und nicht doppelt aufgenommen. Das gilt für das, was Sie hier selbst mit denselben Schlüsseln aufgenommen haben; was Kollegen oder das Programm des Krankenhauses aufnahmen, wird nicht erkannt.',
  ],
  'm.files': ['Files', 'Dateien'],
  'm.chooseFolder': ['Choose a folder', 'Ordner wählen'],
  'm.chooseFiles': ['Choose files', 'Dateien wählen'],
  'm.drop': ['or drop folders and files here', 'oder Ordner und Dateien hierher ziehen'],
  'm.whose': ['Whose are files that do not say it?', 'Wessen sind Dateien, die es nicht sagen?'],
  'm.nobody': ['Nobody: leave such files out', 'Niemandes: solche Dateien weglassen'],
  'm.doubtful': [
    'Take in also what needs a second look',
    'Auch aufnehmen, was einen zweiten Blick braucht',
  ],
  'm.doubtfulWhy': [
    'Files that name somebody else than the chosen patient, and patients whose name is known here already: they would become another person of the same name.',
    'Dateien, die jemand anderen nennen als den gewählten Patienten, und Patienten, deren Name hier schon bekannt ist: Sie würden zu einer weiteren Person gleichen Namens.',
  ],
  'm.readable': ['Names of new patients stay readable', 'Namen neuer Patienten bleiben lesbar'],
  'm.found_one': ['{{count}} file to take in', '{{count}} Datei aufzunehmen'],
  'm.found_other': ['{{count}} files to take in', '{{count}} Dateien aufzunehmen'],
  'm.none': ['There is nothing to take in among these.', 'Darunter ist nichts aufzunehmen.'],
  'm.tooMany': [
    'These are more than {{count}} files. Take them in folder by folder, or use the hospital’s program.',
    'Das sind mehr als {{count}} Dateien. Nehmen Sie sie Ordner für Ordner auf oder mit dem Programm des Krankenhauses.',
  ],
  'm.start': ['Sign, seal and take in', 'Unterschreiben, versiegeln und aufnehmen'],
  'm.stop': ['Stop after this file', 'Nach dieser Datei anhalten'],
  'm.go': ['Go on', 'Weitermachen'],
  'm.retry': ['Try what failed again', 'Fehlgeschlagenes noch einmal versuchen'],
  'm.clear': ['Start anew', 'Neu beginnen'],
  'm.progress': ['{{done}} of {{all}} files', '{{done}} von {{all}} Dateien'],
  'm.summary': [
    '{{done}} of {{all}} files taken in: {{records}} records sealed, {{known}} known from before, {{bad}} files left out',
    '{{done}} von {{all}} Dateien aufgenommen: {{records}} Einträge versiegelt, {{known}} von früher bekannt, {{bad}} Dateien ausgelassen',
  ],
  'm.stay': [
    'Stay on this page. It locks as always when nobody touches it; then choose the files again.',
    'Bleiben Sie auf dieser Seite. Sie sperrt sich wie immer, wenn niemand sie berührt; wählen Sie die Dateien dann noch einmal.',
  ],
  'm.waiting': ['Waiting', 'Wartet'],
  'm.working': ['Being sealed, {{part}} %', 'Wird versiegelt, {{part}} %'],
  'm.done_one': ['Taken in: {{count}} record', 'Aufgenommen: {{count}} Eintrag'],
  'm.done_other': ['Taken in: {{count}} records', 'Aufgenommen: {{count}} Einträge'],
  'm.knownToo': ['{{known}} known from before', '{{known}} von früher bekannt'],
  'm.known': ['Taken in before: nothing new in it', 'Schon aufgenommen: nichts Neues darin'],
  'm.leftOut_one': [
    '{{count}} entry about nobody (organisations, practitioners) left out',
    '{{count}} Eintrag über niemanden (Einrichtungen, Behandelnde) ausgelassen',
  ],
  'm.leftOut_other': [
    '{{count}} entries about nobody (organisations, practitioners) left out',
    '{{count}} Einträge über niemanden (Einrichtungen, Behandelnde) ausgelassen',
  ],
  'm.refused': ['Not taken in', 'Nicht aufgenommen'],
  'm.failed': ['Failed', 'Fehlgeschlagen'],
  'm.noKey': [
    'no record of this patient is at hand that would release the key',
    'kein Eintrag dieses Patienten gibt den Schlüssel frei',
  ],
  'm.more': [
    '{{count}} further files are not listed; those with a problem stand first.',
    '{{count}} weitere Dateien stehen nicht in der Liste; die mit einem Problem stehen zuerst.',
  ],
  'm.program': ['For very much, or by night', 'Für sehr viel oder über Nacht'],
  'm.programWhy': [
    'The hospital’s own program takes in what this page does not read (compressed DICOM of most kinds, ECGs of several segments, resources about nobody) and goes on after a crash by itself:',
    'Das Programm des Krankenhauses nimmt auch auf, was diese Seite nicht liest (die meisten komprimierten DICOM-Arten, EKGs mit mehreren Abschnitten, Einträge über niemanden), und macht nach einem Absturz selbst weiter:',
  ],
  'h.why.fhir': [
    'It is no sound FHIR R4 bundle about patients.',
    'Das ist kein gültiges FHIR-R4-Bundle über Patienten.',
  ],
  'h.why.fhir-owner': [
    'Something in the bundle belongs to no patient in it.',
    'Etwas im Bundle gehört zu keinem Patienten darin.',
  ],
  'h.why.whose': [
    'It does not say whose it is, and no patient is chosen.',
    'Sie sagt nicht, wessen sie ist, und es ist kein Patient gewählt.',
  ],
  'h.why.same-name': [
    'Somebody named {{name}} is known here already.',
    'Jemand namens {{name}} ist hier schon bekannt.',
  ],
  'h.why.named': [
    'It names {{name}}, not the chosen patient.',
    'Sie nennt {{name}}, nicht den gewählten Patienten.',
  ],
} as const satisfies Record<string, readonly [en: string, de: string]>;
