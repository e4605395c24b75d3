// The texts of the charts of patients: English, then German. They come along with the pages that draw them.

export const statistics = {
  'stats.text': [
    'Counted by each hospital over its own patients and signed by it. This page checked the signatures.',
    'Gezählt von jedem Krankenhaus über die eigenen Patienten und von ihm unterschrieben. Diese Seite hat die Unterschriften geprüft.',
  ],
  'stats.own.text': [
    'Counted here, over the patients of this hospital. Beside each number stands what leaves the hospital.',
    'Hier gezählt, über die Patienten dieses Krankenhauses. Neben jeder Zahl steht, was das Haus verlässt.',
  ],
  'stats.symptoms': ['Patients per symptom', 'Patienten je Symptom'],
  'stats.doctors': ['Patients per doctor', 'Patienten je Arzt'],
  'stats.show': ['Hospital', 'Krankenhaus'],
  'stats.all': ['All hospitals together', 'Alle Krankenhäuser zusammen'],
  'stats.patients': ['Patients', 'Patienten'],
  'stats.symptom': ['Symptom', 'Symptom'],
  'stats.code': ['Code', 'Code'],
  'stats.doctor': ['Doctor', 'Arzt'],
  'stats.total': ['Together', 'Zusammen'],
  'stats.leaves': ['What leaves', 'Was hinausgeht'],
  'stats.stays': ['nothing', 'nichts'],
  'stats.uncoded': ['In words, without a code', 'In Worten, ohne Code'],
  'stats.noWords': ['Code {{code}}', 'Code {{code}}'],
  'stats.unknownDoctor': ['Doctor {{number}}', 'Arzt {{number}}'],
  'stats.about_one': ['about {{count}} patient', 'etwa {{count}} Patient'],
  'stats.about_other': ['about {{count}} patients', 'etwa {{count}} Patienten'],
  'stats.exact_one': ['{{count}} patient', '{{count}} Patient'],
  'stats.exact_other': ['{{count}} patients', '{{count}} Patienten'],
  'stats.none': [
    'No cell has enough patients to be shown outside a hospital.',
    'Kein Feld hat genug Patienten, um außerhalb eines Krankenhauses gezeigt zu werden.',
  ],
  'stats.own.none': ['Nobody is counted yet.', 'Noch ist niemand gezählt.'],
  'stats.asOf': [
    '{{name}}: counted {{at}}, about {{patients}} patients in this chart.',
    '{{name}}: gezählt {{at}}, etwa {{patients}} Patienten in diesem Diagramm.',
  ],
  'stats.asOf.few': [
    '{{name}}: too few patients to say anything.',
    '{{name}}: zu wenige Patienten, um etwas zu sagen.',
  ],
  'stats.counting': [
    '{{name}} is still counting; the numbers follow.',
    '{{name}} zählt noch; die Zahlen folgen.',
  ],
  'stats.own.counting': [
    'Counting: {{done}} of {{of}} patients. The numbers grow until all are counted.',
    'Es wird gezählt: {{done}} von {{of}} Patienten. Die Zahlen wachsen, bis alle gezählt sind.',
  ],
  'stats.own.of_one': ['{{count}} patient in this chart.', '{{count}} Patient in diesem Diagramm.'],
  'stats.own.of_other': [
    '{{count}} patients in this chart.',
    '{{count}} Patienten in diesem Diagramm.',
  ],
  'stats.unreadable_one': [
    'A record of {{count}} patient does not open; this patient is not counted.',
    'Ein Eintrag von {{count}} Patient lässt sich nicht öffnen; er ist nicht gezählt.',
  ],
  'stats.unreadable_other': [
    'Records of {{count}} patients do not open; these patients are not counted.',
    'Einträge von {{count}} Patienten lassen sich nicht öffnen; sie sind nicht gezählt.',
  ],
  'stats.rule': [
    'Fewer than {{threshold}} patients are not shown; other numbers are rounded to the nearest {{rounding}}. A hospital’s numbers change only when at least {{threshold}} of its patients have something new. A patient may stand in several bars.',
    'Weniger als {{threshold}} Patienten werden nicht gezeigt; andere Zahlen sind auf Vielfache von {{rounding}} gerundet. Die Zahlen eines Hauses ändern sich erst, wenn mindestens {{threshold}} seiner Patienten etwas Neues haben. Ein Patient kann in mehreren Balken stehen.',
  ],
  'stats.own.rule': [
    'Of this, fewer than {{threshold}} patients never leave the hospital; other numbers leave rounded to the nearest {{rounding}}, and change only when at least {{threshold}} patients have something new. A patient may stand in several bars.',
    'Davon verlassen weniger als {{threshold}} Patienten das Haus nie; andere Zahlen gehen auf Vielfache von {{rounding}} gerundet hinaus und ändern sich erst, wenn mindestens {{threshold}} Patienten etwas Neues haben. Ein Patient kann in mehreren Balken stehen.',
  ],
  'stats.who': ['Who could have seen what', 'Wer was gesehen haben könnte'],
  'stats.symptoms.who': [
    'The symptoms are sealed. Each hospital’s own node opened those of its own patients to count them; its staff may see the exact numbers. What is shown here left the hospital as numbers alone, and operators, auditors and the staff of other hospitals may see the same. Nobody outside the hospital sees whose symptoms they are, the healthcare cloud included.',
    'Die Symptome sind versiegelt. Der eigene Knoten jedes Krankenhauses hat die seiner Patienten geöffnet, um sie zu zählen; sein Personal darf die genauen Zahlen sehen. Was hier steht, hat das Haus nur als Zahl verlassen; Betreiber, Prüfer und das Personal anderer Häuser dürfen dasselbe sehen. Niemand außerhalb sieht, wessen Symptome es sind, auch nicht die Gesundheits-Cloud.',
  ],
  'stats.doctors.who': [
    'Counted from the consultations on the ledger. There patients stand under random numbers, so whoever may read the ledger can count the same exactly, without rounding; only the hospital knows who a number is. What patient and doctor wrote is sealed and was not opened.',
    'Gezählt aus den Konsultationen im Register. Dort stehen Patienten unter zufälligen Nummern; wer das Register lesen darf, kann dasselbe genau und ungerundet zählen. Wer hinter einer Nummer steht, weiß nur das Krankenhaus. Was Patient und Arzt schrieben, ist versiegelt und wurde nicht geöffnet.',
  ],
  'stats.distrusted': [
    'The signature or the form of these numbers is wrong, so they are not shown: {{names}}.',
    'Unterschrift oder Form dieser Zahlen stimmen nicht, darum werden sie nicht gezeigt: {{names}}.',
  ],
  'stats.unreachable': [
    'Not reachable, and not in the charts: {{names}}.',
    'Nicht erreichbar und nicht in den Diagrammen: {{names}}.',
  ],
  'stats.noHospital': [
    'There is no hospital in this consortium.',
    'Im Verbund ist kein Krankenhaus.',
  ],
} as const satisfies Record<string, readonly [en: string, de: string]>;
