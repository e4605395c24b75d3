// OPAQUE (RFC 9807) in a worker: the key stretching takes some 100 ms and 64 MiB. The suite and the
// preset are those of crates/crypto/src/opaque.rs; the preset is named because a changed default would
// lock every account.
import * as opaque from '@serenity-kit/opaque';

const keyStretching = 'memory-constrained' as const;

export type Ask =
  | { step: 'registration-start'; password: string }
  | { step: 'registration-finish'; password: string; state: string; response: string }
  | { step: 'login-start'; password: string }
  | { step: 'login-finish'; password: string; state: string; response: string };

export type Told = {
  state?: string;
  message?: string;
  exportKey?: string;
  refused?: boolean;
};

export async function answer(ask: Ask): Promise<Told> {
  await opaque.ready;
  const { password } = ask;
  switch (ask.step) {
    case 'registration-start': {
      const started = opaque.client.startRegistration({ password });
      return { state: started.clientRegistrationState, message: started.registrationRequest };
    }
    case 'registration-finish': {
      const finished = opaque.client.finishRegistration({
        password,
        clientRegistrationState: ask.state,
        registrationResponse: ask.response,
        keyStretching,
      });
      return { message: finished.registrationRecord, exportKey: finished.exportKey };
    }
    case 'login-start': {
      const started = opaque.client.startLogin({ password });
      return { state: started.clientLoginState, message: started.startLoginRequest };
    }
    case 'login-finish': {
      const finished = opaque.client.finishLogin({
        password,
        clientLoginState: ask.state,
        loginResponse: ask.response,
        keyStretching,
      });
      if (!finished) return { refused: true };
      return { message: finished.finishLoginRequest, exportKey: finished.exportKey };
    }
  }
}

if (typeof window === 'undefined' && typeof self !== 'undefined') {
  self.onmessage = async (event: MessageEvent<{ id: number; ask: Ask }>) => {
    const { id, ask } = event.data;
    try {
      self.postMessage({ id, told: await answer(ask) });
    } catch (error) {
      self.postMessage({ id, error: String(error) });
    }
  };
}
