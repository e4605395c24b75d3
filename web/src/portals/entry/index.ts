// Pages before and around the portals.
export { Account } from './Account';
export { LogIn } from './LogIn';
export { Recover } from './Recover';
export { Register } from './Register';
export { Elsewhere, Lost, Start } from './Start';
