// Why a file is not taken in, as a word that the page has a sentence for.
export type Why =
  | 'empty'
  | 'too-large'
  | 'unknown'
  | 'damaged'
  | 'ecg-header'
  | 'ecg-format'
  | 'ecg-segments'
  | 'ecg-short'
  | 'ecg-checksum'
  | 'ecg-missing'
  | 'ecg-alone'
  | 'dicom'
  | 'fhir'
  | 'fhir-owner'
  | 'whose'
  | 'same-name'
  | 'named';

/** A file that cannot be taken in here. */
export class Refused extends Error {
  constructor(
    readonly why: Why,
    readonly what: { name?: string; format?: string } = {},
  ) {
    super(why);
  }
}
