"""Calling codes and the countries behind them.

One calling code is one country but for a few that share; those are told apart by longer
prefixes. +1 is not here: its countries go by area code (`nanp`). The table is ITU-T E.164's
list of assigned codes; a test holds it against the `phonenumbers` library.
"""

from __future__ import annotations

from typing import Final

_MAIN: Final = """
    1:US 7:RU 20:EG 27:ZA 30:GR 31:NL 32:BE 33:FR 34:ES 36:HU 39:IT 40:RO 41:CH 43:AT 44:GB
    45:DK 46:SE 47:NO 48:PL 49:DE 51:PE 52:MX 53:CU 54:AR 55:BR 56:CL 57:CO 58:VE 60:MY 61:AU
    62:ID 63:PH 64:NZ 65:SG 66:TH 81:JP 82:KR 84:VN 86:CN 90:TR 91:IN 92:PK 93:AF 94:LK 95:MM
    98:IR 211:SS 212:MA 213:DZ 216:TN 218:LY 220:GM 221:SN 222:MR 223:ML 224:GN 225:CI 226:BF
    227:NE 228:TG 229:BJ 230:MU 231:LR 232:SL 233:GH 234:NG 235:TD 236:CF 237:CM 238:CV 239:ST
    240:GQ 241:GA 242:CG 243:CD 244:AO 245:GW 246:IO 247:AC 248:SC 249:SD 250:RW 251:ET 252:SO
    253:DJ 254:KE 255:TZ 256:UG 257:BI 258:MZ 260:ZM 261:MG 262:RE 263:ZW 264:NA 265:MW 266:LS
    267:BW 268:SZ 269:KM 290:SH 291:ER 297:AW 298:FO 299:GL 350:GI 351:PT 352:LU 353:IE 354:IS
    355:AL 356:MT 357:CY 358:FI 359:BG 370:LT 371:LV 372:EE 373:MD 374:AM 375:BY 376:AD 377:MC
    378:SM 380:UA 381:RS 382:ME 383:XK 385:HR 386:SI 387:BA 389:MK 420:CZ 421:SK 423:LI 500:FK
    501:BZ 502:GT 503:SV 504:HN 505:NI 506:CR 507:PA 508:PM 509:HT 590:GP 591:BO 592:GY 593:EC
    594:GF 595:PY 596:MQ 597:SR 598:UY 599:CW 670:TL 672:NF 673:BN 674:NR 675:PG 676:TO 677:SB
    678:VU 679:FJ 680:PW 681:WF 682:CK 683:NU 685:WS 686:KI 687:NC 688:TV 689:PF 690:TK 691:FM
    692:MH 850:KP 852:HK 853:MO 855:KH 856:LA 880:BD 886:TW 960:MV 961:LB 962:JO 963:SY 964:IQ
    965:KW 966:SA 967:YE 968:OM 970:PS 971:AE 972:IL 973:BH 974:QA 975:BT 976:MN 977:NP 992:TJ
    993:TM 994:AZ 995:GE 996:KG 998:UZ
"""

# Calling code to the country that owns it, or the largest of those that share it.
MAIN_COUNTRY: Final[dict[str, str]] = {
    code: country for code, _, country in (item.partition(":") for item in _MAIN.split())
}

# Codes of no country (ITU-T E.164 §6.2.2): freephone, shared cost, satellite, networks.
GLOBAL_CODES: Final = frozenset({"800", "808", "870", "878", "881", "882", "883", "888", "979"})
_ASSIGNED: Final = GLOBAL_CODES.union(MAIN_COUNTRY)

# Prefixes, calling code included, of the smaller countries under a shared code. Where the
# plan does not separate two territories (BL and MF under +590), the main one stands.
_SHARED: Final[dict[str, str]] = {
    "76": "KZ",
    "77": "KZ",
    "3906698": "VA",
    "441481": "GG",
    "447781": "GG",
    "447839": "GG",
    "4479111": "GG",
    "4479117": "GG",
    "441534": "JE",
    "447509": "JE",
    "4477003": "JE",
    "4477007": "JE",
    "4477008": "JE",
    "447797": "JE",
    "447829": "JE",
    "447937": "JE",
    "441624": "IM",
    "4474576": "IM",
    "447524": "IM",
    "447624": "IM",
    "447924": "IM",
    "4779": "SJ",
    "6189162": "CC",
    "6189164": "CX",
    "2125288": "EH",
    "2125289": "EH",
    "262269": "YT",
    "262639": "YT",
    "2629398": "YT",
    "2908": "TA",
    "35818": "AX",
    "5993": "BQ",
    "5994": "BQ",
    "5997": "BQ",
}
SHARING_CODES: Final = frozenset({"7", "39", "44", "47", "61", "212", "262", "290", "358", "599"})
# Of each shared code: how long the beginnings are that tell, the longest first.
_LENGTHS: Final = {
    code: sorted({len(prefix) for prefix in _SHARED if prefix.startswith(code)}, reverse=True)
    for code in SHARING_CODES
}


def calling_code_of(digits: str) -> str | None:
    """The calling code that E.164 `digits` (no plus) begin with; None if unassigned."""
    for length in (2, 3, 1):  # no assigned code is the beginning of another
        code = digits[:length]
        if code in _ASSIGNED:
            return code
    return None


def country_under(calling_code: str, digits: str) -> str:
    """The country of `digits` under `calling_code`; empty for codes of no country."""
    for length in _LENGTHS.get(calling_code, ()):
        country = _SHARED.get(digits[:length])
        if country is not None:
            return country
    return MAIN_COUNTRY.get(calling_code, "")
