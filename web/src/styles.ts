// The styles of the component kit.
import '@mantine/core/styles.css';
