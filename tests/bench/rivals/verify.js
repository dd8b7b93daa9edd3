// WebCrypto, because createHash of the njs in Debian 12 has no SHA-512.
async function verify(r) {
    let message;
    try {
        message = JSON.parse(r.requestText);
    } catch (e) {
        r.return(400);
        return;
    }
    const signed = message.order_id + message.status_code + message.gross_amount + "@KEY@";
    const digest = await crypto.subtle.digest("SHA-512", signed);
    if (Buffer.from(digest).toString("hex") !== message.signature_key) {
        r.return(401);
        return;
    }
    r.internalRedirect("@upstream");
}

export default { verify };
