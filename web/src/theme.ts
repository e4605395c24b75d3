// Colours and type. Where Mantine's defaults miss the contrast of WCAG AA, they are replaced here.
import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from '@mantine/core';

const teal: MantineColorsTuple = [
  '#e9f8f7',
  '#d6eeed',
  '#abdcda',
  '#7dc9c6',
  '#57b9b5',
  '#3fafab',
  '#2faaa5',
  '#1f9590',
  '#0b6e6e',
  '#005a5a',
];

export const theme = createTheme({
  primaryColor: 'salus',
  colors: { salus: teal },
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: 'md',
  fontFamily: 'system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
  autoContrast: true,
  respectReducedMotion: true,
  cursorType: 'pointer',
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-error': '#b3261e',
    '--mantine-color-dimmed': '#4a5568',
    '--mantine-color-placeholder': '#5f6b7a',
    '--mantine-color-anchor': '#0b6e6e',
    '--salus-good': '#1b6b34',
    '--salus-warn': '#8a4b00',
    '--salus-bad': '#b3261e',
    '--salus-line': '#d5dbe3',
    '--salus-band': '#e3f1ee',
    '--salus-trace': '#1a1a1a',
    '--salus-grid': '#f3c6c2',
    '--salus-grid-strong': '#e39a94',
    '--salus-paper': '#fffafa',
  },
  dark: {
    '--mantine-color-error': '#ff9d94',
    '--mantine-color-dimmed': '#c3cad4',
    '--mantine-color-placeholder': '#a3adba',
    '--mantine-color-anchor': '#7dc9c6',
    '--salus-good': '#8fdca6',
    '--salus-warn': '#ffc57a',
    '--salus-bad': '#ff9d94',
    '--salus-line': '#4a5260',
    '--salus-band': '#1d3b38',
    '--salus-trace': '#f2f2f2',
    '--salus-grid': '#3a2b2b',
    '--salus-grid-strong': '#5a3c3c',
    '--salus-paper': '#1c1717',
  },
});
