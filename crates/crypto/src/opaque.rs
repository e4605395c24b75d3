//! Password login in which the server never sees the password: OPAQUE (RFC 9807) in one fixed suite.
//!
//! OPRF ristretto255-SHA512, 3DH over ristretto255 with SHA-512, Argon2id (t = 3, m = 64 MiB, p = 4,
//! 16 zero bytes of salt, 64 bytes out: the preset "memory-constrained"), no context, no identities.
//! That is what `@serenity-kit/opaque` 1.1 speaks; every part of it is named here, because a changed
//! default would lock every account.
//!
//! ```text
//! registration   client start -> request -> server -> response -> client finish -> upload -> server
//! login          client start -> request -> server -> response -> client finish -> finalization
//! ```
//! Messages are bytes. An unknown account is answered as a known one is, with a response that no
//! password fits.

use opaque_ke::argon2::{Algorithm, Argon2, Params, Version};
use opaque_ke::ciphersuite::CipherSuite;
use opaque_ke::errors::ProtocolError;
use opaque_ke::{
    ClientLoginFinishParameters, ClientRegistrationFinishParameters, CredentialFinalization,
    CredentialRequest, CredentialResponse, Identifiers, RegistrationRequest, RegistrationResponse,
    RegistrationUpload, Ristretto255, ServerLogin, ServerLoginParameters, ServerRegistration,
    TripleDh,
};
use salus_proto::Entropy;
use zeroize::Zeroizing;

use crate::Error;
use crate::entropy::Adapter;

/// Bytes of a registration request, its response, the upload and the stored password record.
pub const REGISTRATION_LENS: [usize; 4] = [32, 64, 192, 192];
/// Bytes of a login request, its response, the finalization and the server's state between them.
pub const LOGIN_LENS: [usize; 4] = [96, 320, 64, 128];
/// Longest password, in bytes of UTF-8.
pub const MAX_PASSWORD_LEN: usize = 1024;
/// Bytes of a server's setup.
pub const SERVER_SETUP_LEN: usize = 128;

/// 64 secret bytes, wiped when dropped: an export key or a session key.
pub type Secret64 = Zeroizing<[u8; 64]>;

struct Suite;

impl CipherSuite for Suite {
    type OprfCs = Ristretto255;
    type KeyExchange = TripleDh<Ristretto255, sha2::Sha512>;
    type Ksf = Argon2<'static>;
}

/// A server's OPRF seed and key pair. Losing it ends every password login of the node; whoever
/// reads it can guess passwords offline.
pub struct ServerSetup(opaque_ke::ServerSetup<Suite>);

impl ServerSetup {
    /// A fresh setup.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(opaque_ke::ServerSetup::new(&mut Adapter(entropy)))
    }

    /// The setup's 128 bytes, to be kept secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.serialize().to_vec())
    }

    /// Reads a setup.
    ///
    /// # Errors
    /// [`Error::LoginMessage`] unless these are the 128 bytes of one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != SERVER_SETUP_LEN {
            return Err(Error::LoginMessage);
        }
        opaque_ke::ServerSetup::deserialize(bytes)
            .map(Self)
            .map_err(message_error)
    }

    /// The public key that clients see in every login and may pin, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.keypair().public().serialize().to_vec()
    }

    /// Answers a registration request for `account`, the name that will never change.
    ///
    /// # Errors
    /// [`Error::LoginMessage`] if the request does not parse.
    pub fn start_registration(&self, account: &[u8], request: &[u8]) -> Result<Vec<u8>, Error> {
        let request = RegistrationRequest::deserialize(exact(request, REGISTRATION_LENS[0])?)
            .map_err(message_error)?;
        ServerRegistration::<Suite>::start(&self.0, request, account)
            .map(|started| started.message.serialize().to_vec())
            .map_err(message_error)
    }

    /// Answers a login request. `password_record` is what [`finish_registration`] gave for this
    /// account, or `None` where there is no such account: the answer then is of the same form, made
    /// by the same computation, and fails at the client as a wrong password does.
    ///
    /// # Errors
    /// [`Error::LoginMessage`] if request or record does not parse.
    pub fn start_login(
        &self,
        account: &[u8],
        password_record: Option<&[u8]>,
        request: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<ServerLoginStarted, Error> {
        let record = password_record
            .map(|record| {
                ServerRegistration::<Suite>::deserialize(exact(record, REGISTRATION_LENS[3])?)
                    .map_err(message_error)
            })
            .transpose()?;
        let request = CredentialRequest::deserialize(exact(request, LOGIN_LENS[0])?)
            .map_err(message_error)?;
        let started = ServerLogin::start(
            &mut Adapter(entropy),
            &self.0,
            record,
            request,
            account,
            ServerLoginParameters::default(),
        )
        .map_err(message_error)?;
        Ok(ServerLoginStarted {
            response: started.message.serialize().to_vec(),
            state: Zeroizing::new(started.state.serialize().to_vec()),
        })
    }
}

impl core::fmt::Debug for ServerSetup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ServerSetup")
    }
}

/// Checks a client's upload and gives the password record to store for the account.
///
/// # Errors
/// [`Error::LoginMessage`] if the upload does not parse.
pub fn finish_registration(upload: &[u8]) -> Result<Vec<u8>, Error> {
    let upload = RegistrationUpload::<Suite>::deserialize(exact(upload, REGISTRATION_LENS[2])?)
        .map_err(message_error)?;
    Ok(ServerRegistration::finish(upload).serialize().to_vec())
}

/// What a server sends and keeps in the middle of a login.
pub struct ServerLoginStarted {
    /// For the client.
    pub response: Vec<u8>,
    /// For [`finish_login`]; secret, used once, and short-lived.
    pub state: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for ServerLoginStarted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ServerLoginStarted")
    }
}

/// Ends a login at the server: the password was right, and both sides hold this session key.
///
/// # Errors
/// [`Error::LoginRefused`] if the finalization does not answer the state; [`Error::LoginMessage`] if
/// either does not parse.
pub fn finish_login(state: &[u8], finalization: &[u8]) -> Result<Secret64, Error> {
    let state =
        ServerLogin::<Suite>::deserialize(exact(state, LOGIN_LENS[3])?).map_err(message_error)?;
    let finalization = CredentialFinalization::deserialize(exact(finalization, LOGIN_LENS[2])?)
        .map_err(message_error)?;
    state
        .finish(finalization, ServerLoginParameters::default())
        .map(|finished| secret_64(&finished.session_key))
        .map_err(login_error)
}

/// A registration at the client, between request and response.
pub struct ClientRegistration(opaque_ke::ClientRegistration<Suite>);

/// What a finished registration gives the client.
pub struct ClientRegistered {
    /// For the server.
    pub upload: Vec<u8>,
    /// Known to the client alone, the same at every login: what opens the vault.
    pub export_key: Secret64,
    /// The server's public key, for pinning.
    pub server_public_key: Vec<u8>,
}

impl ClientRegistration {
    /// Starts a registration and gives the request for the server.
    ///
    /// # Errors
    /// [`Error::TooLong`] for a password beyond [`MAX_PASSWORD_LEN`].
    pub fn start(password: &str, entropy: &mut dyn Entropy) -> Result<(Self, Vec<u8>), Error> {
        let password = password_bytes(password)?;
        let started = opaque_ke::ClientRegistration::start(&mut Adapter(entropy), password)
            .map_err(|_| Error::TooLong)?;
        Ok((Self(started.state), started.message.serialize().to_vec()))
    }

    /// Finishes with the server's response. Takes 64 MiB and some 100 ms.
    ///
    /// # Errors
    /// [`Error::LoginMessage`] if the response does not parse or reflects the request.
    pub fn finish(
        self,
        password: &str,
        response: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<ClientRegistered, Error> {
        let response = RegistrationResponse::deserialize(exact(response, REGISTRATION_LENS[1])?)
            .map_err(message_error)?;
        let stretching = stretching()?;
        let parameters =
            ClientRegistrationFinishParameters::new(Identifiers::default(), Some(&stretching));
        let password = password_bytes(password)?;
        let finished = self
            .0
            .finish(&mut Adapter(entropy), password, response, parameters)
            .map_err(message_error)?;
        Ok(ClientRegistered {
            upload: finished.message.serialize().to_vec(),
            export_key: secret_64(&finished.export_key),
            server_public_key: finished.server_s_pk.serialize().to_vec(),
        })
    }
}

impl core::fmt::Debug for ClientRegistration {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientRegistration")
    }
}

impl core::fmt::Debug for ClientRegistered {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientRegistered")
    }
}

/// A login at the client, between request and response.
pub struct ClientLogin(opaque_ke::ClientLogin<Suite>);

/// What a finished login gives the client.
pub struct ClientLoggedIn {
    /// For the server.
    pub finalization: Vec<u8>,
    /// Shared with the server.
    pub session_key: Secret64,
    /// Known to the client alone, the same as at registration: what opens the vault.
    pub export_key: Secret64,
    /// The server's public key, to compare with the pinned one.
    pub server_public_key: Vec<u8>,
}

impl ClientLogin {
    /// Starts a login and gives the request for the server.
    ///
    /// # Errors
    /// [`Error::TooLong`] for a password beyond [`MAX_PASSWORD_LEN`].
    pub fn start(password: &str, entropy: &mut dyn Entropy) -> Result<(Self, Vec<u8>), Error> {
        let password = password_bytes(password)?;
        let started = opaque_ke::ClientLogin::start(&mut Adapter(entropy), password)
            .map_err(|_| Error::TooLong)?;
        Ok((Self(started.state), started.message.serialize().to_vec()))
    }

    /// Finishes with the server's response. Takes 64 MiB and some 100 ms.
    ///
    /// # Errors
    /// [`Error::LoginRefused`] if password, account or server is not the right one;
    /// [`Error::LoginMessage`] if the response does not parse.
    pub fn finish(
        self,
        password: &str,
        response: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<ClientLoggedIn, Error> {
        let response = CredentialResponse::deserialize(exact(response, LOGIN_LENS[1])?)
            .map_err(message_error)?;
        let stretching = stretching()?;
        let parameters =
            ClientLoginFinishParameters::new(None, Identifiers::default(), Some(&stretching));
        let password = password_bytes(password)?;
        let finished = self
            .0
            .finish(&mut Adapter(entropy), password, response, parameters)
            .map_err(login_error)?;
        Ok(ClientLoggedIn {
            finalization: finished.message.serialize().to_vec(),
            session_key: secret_64(&finished.session_key),
            export_key: secret_64(&finished.export_key),
            server_public_key: finished.server_s_pk.serialize().to_vec(),
        })
    }
}

impl core::fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientLogin")
    }
}

impl core::fmt::Debug for ClientLoggedIn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientLoggedIn")
    }
}

/// The preset "memory-constrained": RFC 9106's second recommended choice.
fn stretching() -> Result<Argon2<'static>, Error> {
    let parameters = Params::new(64 * 1024, 3, 4, None).map_err(|_| Error::TooLong)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters))
}

/// Holds a message to its one length; the library would ignore bytes that follow it.
fn exact(message: &[u8], length: usize) -> Result<&[u8], Error> {
    if message.len() == length {
        Ok(message)
    } else {
        Err(Error::LoginMessage)
    }
}

fn password_bytes(password: &str) -> Result<&[u8], Error> {
    if password.len() > MAX_PASSWORD_LEN {
        Err(Error::TooLong)
    } else {
        Ok(password.as_bytes())
    }
}

fn secret_64(bytes: &[u8]) -> Secret64 {
    let mut out = Zeroizing::new([0; 64]);
    out.copy_from_slice(bytes);
    out
}

fn message_error(_: ProtocolError) -> Error {
    Error::LoginMessage
}

fn login_error(error: ProtocolError) -> Error {
    match error {
        ProtocolError::SerializationError
        | ProtocolError::SizeError { .. }
        | ProtocolError::ReflectedValueError => Error::LoginMessage,
        // A wrong password shows as an envelope that does not open, inside the library's own error.
        _ => Error::LoginRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    const PASSWORD: &str = "correct horse battery staple";

    fn register(setup: &ServerSetup, account: &[u8], entropy: &mut Seeded) -> (Vec<u8>, Secret64) {
        let (client, request) = ClientRegistration::start(PASSWORD, entropy).unwrap();
        let response = setup.start_registration(account, &request).unwrap();
        let registered = client.finish(PASSWORD, &response, entropy).unwrap();
        assert_eq!(registered.server_public_key, setup.public_key());
        (
            finish_registration(&registered.upload).unwrap(),
            registered.export_key,
        )
    }

    fn login(
        setup: &ServerSetup,
        account: &[u8],
        record: Option<&[u8]>,
        password: &str,
        entropy: &mut Seeded,
    ) -> Result<ClientLoggedIn, Error> {
        let (client, request) = ClientLogin::start(password, entropy)?;
        let started = setup.start_login(account, record, &request, entropy)?;
        assert_eq!(started.response.len(), 320);
        let logged_in = client.finish(password, &started.response, entropy)?;
        let session_key = finish_login(&started.state, &logged_in.finalization)?;
        assert_eq!(*session_key, *logged_in.session_key);
        Ok(logged_in)
    }

    #[test]
    fn the_export_key_of_registration_comes_back_at_login_even_after_a_restart() {
        let entropy = &mut Seeded::new(1);
        let setup = ServerSetup::generate(entropy);
        let (record, export_key) = register(&setup, b"amara", entropy);
        assert_eq!(
            (record.len(), setup.to_bytes().len()),
            (192, SERVER_SETUP_LEN)
        );
        let restarted = ServerSetup::from_bytes(&setup.to_bytes()).unwrap();
        let logged_in = login(&restarted, b"amara", Some(&record), PASSWORD, entropy).unwrap();
        assert_eq!(*logged_in.export_key, *export_key);
        assert_eq!(logged_in.server_public_key, setup.public_key());
    }

    #[test]
    fn a_wrong_password_an_unknown_account_and_another_name_fail_alike() {
        let entropy = &mut Seeded::new(2);
        let setup = ServerSetup::generate(entropy);
        let (record, _) = register(&setup, b"amara", entropy);
        for (account, record, password) in [
            (
                &b"amara"[..],
                Some(&*record),
                "correct horse battery stapler",
            ),
            (b"nobody", None, PASSWORD),
            (b"bilal", Some(&*record), PASSWORD),
        ] {
            let refused = login(&setup, account, record, password, entropy).unwrap_err();
            assert_eq!(refused.name(), "login-refused");
        }
    }

    #[test]
    fn a_finalization_for_another_login_is_refused() {
        let entropy = &mut Seeded::new(3);
        let setup = ServerSetup::generate(entropy);
        let (record, _) = register(&setup, b"amara", entropy);
        let (client, request) = ClientLogin::start(PASSWORD, entropy).unwrap();
        let first = setup
            .start_login(b"amara", Some(&record), &request, entropy)
            .unwrap();
        let second = setup
            .start_login(b"amara", Some(&record), &request, entropy)
            .unwrap();
        let finished = client.finish(PASSWORD, &first.response, entropy).unwrap();
        assert!(matches!(
            finish_login(&second.state, &finished.finalization),
            Err(Error::LoginRefused)
        ));
        assert!(finish_login(&first.state, &finished.finalization).is_ok());
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_everywhere() {
        let entropy = &mut Seeded::new(4);
        let setup = ServerSetup::generate(entropy);
        for bytes in [
            vec![],
            vec![0; 32],
            vec![0xff; 64],
            vec![1; 192],
            vec![0; 2000],
        ] {
            assert!(setup.start_registration(b"a", &bytes).is_err());
            assert!(setup.start_login(b"a", None, &bytes, entropy).is_err());
            assert!(
                setup
                    .start_login(b"a", Some(&bytes), &bytes, entropy)
                    .is_err()
            );
            assert!(finish_registration(&bytes).is_err());
            assert!(finish_login(&bytes, &bytes).is_err());
            assert!(finish_login(&[1; 128], &bytes).is_err());
            assert!(ServerSetup::from_bytes(&bytes).is_err());
            let (client, _) = ClientLogin::start(PASSWORD, entropy).unwrap();
            assert!(client.finish(PASSWORD, &bytes, entropy).is_err());
        }
        assert!(ClientLogin::start(&"x".repeat(1025), entropy).is_err());
    }
}
